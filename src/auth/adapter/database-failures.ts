import { APIError } from 'better-auth/api';
import { isDatabaseUnavailable, isDeadlock, isUniqueViolation } from '../../platform/database/database-errors.js';
import { signInContext } from '../better-auth/sign-in-context.js';
import type { Operations } from './stored-rows.js';

/** Code of a response to a request that lost a race and left nothing behind, so it can run again. */
export const COLLIDED = 'COLLIDED';

/** Better Auth turns any failure of the database into a 500 or a misleading 4xx. These get a response of their own. */
export async function translateFailures<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const failure = translated(error);
    const context = signInContext.getStore();
    if (context !== undefined) context.failure = failure;
    throw failure;
  }
}

export function withTranslatedFailures(inner: Operations): Operations {
  return {
    create: (query) => translateFailures(() => inner.create(query)),
    findOne: (query) => translateFailures(() => inner.findOne(query)),
    findMany: (query) => translateFailures(() => inner.findMany(query)),
    count: (query) => translateFailures(() => inner.count(query)),
    update: (query) => translateFailures(() => inner.update(query)),
    updateMany: (query) => translateFailures(() => inner.updateMany(query)),
    delete: (query) => translateFailures(() => inner.delete(query)),
    deleteMany: (query) => translateFailures(() => inner.deleteMany(query)),
    consumeOne: (query) => translateFailures(() => inner.consumeOne(query)),
    incrementOne: (query) => translateFailures(() => inner.incrementOne(query)),
  };
}

function translated(error: unknown): Error {
  if (isDatabaseUnavailable(error))
    return new APIError('SERVICE_UNAVAILABLE', { code: 'SERVICE_UNAVAILABLE', message: 'The database is unavailable' });
  if (isUniqueViolation(error, 'users_email_key'))
    return new APIError('CONFLICT', { code: 'EMAIL_TAKEN', message: 'Another account uses this email' });
  if (isUniqueViolation(error, 'accounts_provider_provider_account_id_key') || isDeadlock(error))
    return new APIError('CONFLICT', { code: COLLIDED, message: 'Another request changed the same row' });
  return error instanceof Error ? error : new Error('The database failed', { cause: error });
}

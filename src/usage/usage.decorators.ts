import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Request } from 'express';
import { principalOf } from '../access/principal.js';
import type { UsageCaller } from './usage-caller.js';

/** The organization in the path, or else the signed-in user, as the owner of the usage. */
export const MeteredCaller = createParamDecorator((_: unknown, context: ExecutionContext): UsageCaller => {
  const request = context.switchToHttp().getRequest<Request>();
  const principal = principalOf(request);
  const { organizationId } = request.params;
  if (typeof organizationId === 'string') {
    const owner = { kind: 'organization' as const, id: organizationId.toLowerCase() };
    if ('apiKeyId' in principal) return { owner, userId: null, mayRecordFor: 'members' };
    return { owner, userId: principal.userId, mayRecordFor: principal.role === 'admin' ? 'members' : 'nobody' };
  }
  if ('apiKeyId' in principal) throw new Error('@MeteredCaller() needs an organization in the path of a route that admits API keys');
  return { owner: { kind: 'user', id: principal.userId }, userId: principal.userId, mayRecordFor: 'nobody' };
});

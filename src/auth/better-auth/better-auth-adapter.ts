import type { BetterAuthOptions, DBAdapter, Where } from 'better-auth';
import { APIError, getOAuthState } from 'better-auth/api';
import { drizzleAdapter } from 'better-auth/adapters/drizzle';
import { hashSessionToken } from '../../access/credentials/session-tokens.js';
import type { ProviderTokens } from '../../accounts/provider-tokens.service.js';
import { accounts } from '../../accounts/accounts.table.js';
import { verifications } from '../../accounts/verifications.table.js';
import type { AccountsService } from '../../accounts/accounts.service.js';
import type { SecurityMails } from '../../accounts/security-mails.service.js';
import type { AuditService } from '../../audit/audit.service.js';
import { isId } from '../../platform/crypto/ids.js';
import type { Database, Queryable } from '../../platform/database/database.js';
import { isDatabaseUnavailable, isDeadlock, isUniqueViolation } from '../../platform/database/database-errors.js';
import { sessions } from '../../sessions/sessions.table.js';
import type { Takeovers } from '../../users/takeovers.service.js';
import { users } from '../../users/users.table.js';
import { actorOf, recordWrite, type Written } from './auth-audit.js';
import type { EmailVerifications } from '../emails/email-verifications.service.js';
import { signInContext } from './sign-in-context.js';

/** Code of an answer to a request that lost to another one and left nothing behind: it may run again. */
export const COLLIDED = 'COLLIDED';

/** What the adapter needs of other modules. */
export interface AdapterServices {
  providerTokens: ProviderTokens;
  audit: AuditService;
  takeovers: Pick<Takeovers, 'endMadeByUnproved'>;
  accounts: Pick<AccountsService, 'cancelVerifications'>;
  securityMails: Pick<SecurityMails, 'sendPasswordChanged' | 'sendMethodLinked'>;
  verifications: Pick<EmailVerifications, 'request'>;
}

type Row = Record<string, unknown>;
type Operations = Omit<DBAdapter, 'transaction'>;

/**
 * Better Auth's Drizzle adapter with our rules for what is stored:
 *
 * - session tokens are hashed on their way in, and looked up by their hash;
 * - provider tokens are encrypted;
 * - deleted users do not exist;
 * - writing a password ends the user's sessions, in the same transaction, after the row is locked;
 * - a password is changed only from the one that was given, whoever else changed it meanwhile;
 * - no session comes of a password or linked account that went meanwhile;
 * - what a route is about leaves an audit entry, in the same transaction;
 * - a link in a mail ends with its reason: a password that is written or a way in that goes ends all of the user's;
 * - a person is told by mail of a changed password and a new way to sign in, in the same transaction;
 * - a sign-up asks for the verification mail in the transaction that opens its session.
 *
 * The adapter is patched in place: Better Auth recognises the object for its schema check.
 */
export function createAdapter(db: Database, services: AdapterServices) {
  const create = (over: object) =>
    drizzleAdapter(over, { provider: 'pg', schema: { users, sessions, accounts, verifications }, transaction: true });
  return (options: BetterAuthOptions): DBAdapter => {
    const adapter = create(db)(options) as DBAdapter;
    // Our own rather than the library's: the rules below write through the transaction too.
    const transaction: DBAdapter['transaction'] = (work) =>
      known(() => db.transaction((tx) => work(protect(create(tx)(options) as DBAdapter, services, tx))));
    return Object.assign(adapter, protect(adapter, services), inTransactions(transaction), { transaction });
  };
}

/** What ends in more than one statement, by our rules, runs in a transaction also where Better Auth opens none. */
function inTransactions(transaction: DBAdapter['transaction']) {
  return {
    create: (request: Parameters<DBAdapter['create']>[0]) => transaction((tx) => tx.create(request)),
    update: (request: Parameters<DBAdapter['update']>[0]) => transaction((tx) => tx.update(request)),
    updateMany: (request: Parameters<DBAdapter['updateMany']>[0]) => transaction((tx) => tx.updateMany(request)),
    delete: (request: Parameters<DBAdapter['delete']>[0]) => transaction((tx) => tx.delete(request)),
    deleteMany: (request: Parameters<DBAdapter['deleteMany']>[0]) => transaction((tx) => tx.deleteMany(request)),
    consumeOne: (request: Parameters<DBAdapter['consumeOne']>[0]) => transaction((tx) => tx.consumeOne(request)),
  };
}

/** @param db the transaction that the adapter runs in, if it does */
function protect<T extends Operations>(adapter: T, services: AdapterServices, db?: Queryable): T {
  const { providerTokens, audit, takeovers, securityMails, verifications: links } = services;
  const plain = {
    create: adapter.create.bind(adapter),
    findOne: adapter.findOne.bind(adapter),
    findMany: adapter.findMany.bind(adapter),
    update: adapter.update.bind(adapter),
    updateMany: adapter.updateMany.bind(adapter),
    delete: adapter.delete.bind(adapter),
    deleteMany: adapter.deleteMany.bind(adapter),
    count: adapter.count.bind(adapter),
    consumeOne: adapter.consumeOne.bind(adapter),
    incrementOne: adapter.incrementOne.bind(adapter),
  } as unknown as Record<string, (request: Row) => Promise<unknown>>;

  const stored = (model: string, data: Row): Row => {
    if (model === 'session' && typeof data['token'] === 'string') return { ...data, token: hashSessionToken(data['token']) };
    if (model === 'verification') return { ...data, userId: userOfVerification(data['value']) };
    return model === 'account' ? providerTokens.seal(data) : data;
  };

  const read = (model: string, row: Row | null, rawTokens: Map<string, string>): Row | null => {
    if (row === null) return null;
    if (model === 'user' && row['deletedAt'] != null) return null;
    const nested = row['user'] as Row | null | undefined;
    const opened = model === 'account' ? providerTokens.open(row) : row;
    const token = model === 'session' ? rawTokens.get(String(row['token'])) : undefined;
    return { ...opened, ...(token === undefined ? {} : { token }), ...(nested == null ? {} : { user: read('user', nested, rawTokens) }) };
  };

  const record = async (written: Written, userId: unknown): Promise<void> => {
    if (db !== undefined) await recordWrite(audit, written, String(userId), db);
  };

  const run = (operation: string, request: Row): Promise<unknown> => known(() => plain[operation]!(request));

  const cancelLinks = async (userId: unknown): Promise<Set<string>> =>
    db === undefined || !isId(userId) ? new Set() : known(() => services.accounts.cancelVerifications(userId, db));

  /** Of a user's reset links one is used, and with it all others end. */
  const spendResetLink = async (where: Where[]): Promise<Row | null> => {
    const link = (await run('findOne', { model: 'verification', where })) as Row | null;
    if (link === null) return null;
    const cancelled = await cancelLinks(link['value']);
    return cancelled.has(String(link['identifier'])) ? link : null;
  };

  const afterPasswordWritten = async (userId: string, passwordHash: string): Promise<void> => {
    await run('deleteMany', { model: 'session', where: [{ field: 'userId', value: userId }] });
    await record('password', userId);
    const context = signInContext.getStore();
    if (context === undefined) return;
    if (db !== undefined && context.newUser?.id !== userId) await known(() => securityMails.sendPasswordChanged(userId, db));
    context.wayIn = { field: 'password', value: passwordHash };
    if (context.path !== '/reset-password') return;
    if (db !== undefined) await takeovers.endMadeByUnproved(userId, actorOf(userId, context), db);
    // The reset link came by mail, so the address is theirs; if nobody had proved that before, all other ways in go.
    const unproved = [
      { field: 'id', value: userId },
      { field: 'emailVerified', value: false },
    ];
    const proved = await run('update', { model: 'user', where: unproved, update: { emailVerified: true, emailVerifiedAt: new Date() } });
    if (proved === null) return;
    const others = [
      { field: 'userId', value: userId },
      { field: 'providerId', value: 'credential', operator: 'ne' },
    ];
    await run('deleteMany', { model: 'account', where: others });
  };

  /** A provider that signs somebody in proves the address, which ends what an unproved account made. */
  const endWhatUnprovedMade = async ({ userId, providerId }: Row): Promise<void> => {
    const context = signInContext.getStore();
    if (context === undefined || db === undefined || providerId === 'credential') return;
    const isCallback = context.path.startsWith('/callback/');
    const isLinkBySignedIn = context.path === '/link-social' || (isCallback && (await getOAuthState())?.link !== undefined);
    if (!isLinkBySignedIn) await takeovers.endMadeByUnproved(String(userId), actorOf(String(userId), context), db);
  };

  const afterAccountCreated = async (account: Row): Promise<void> => {
    const userId = String(account['userId']);
    rememberWayIn(account);
    await record('account', userId);
    await endWhatUnprovedMade(account);
    const provider = String(account['providerId']);
    const isNewer = provider !== 'credential' && signInContext.getStore()?.newUser?.id !== userId;
    if (isNewer && db !== undefined) await known(() => securityMails.sendMethodLinked(userId, provider, db));
  };

  /** The link in the mail is bound to the session that the sign-up opens. */
  const requestVerification = async (session: Row): Promise<void> => {
    const context = signInContext.getStore();
    const user = context?.newUser;
    if (db === undefined || user === undefined || user.emailVerified || user.id !== session['userId']) return;
    const callbackURL = context?.callbackURL ?? (await getOAuthState())?.callbackURL;
    await known(() => links.request({ email: user.email, callbackURL, sessionId: String(session['id']) }, db));
  };

  const rememberWayIn = (account: Row): void => {
    const context = signInContext.getStore();
    if (context !== undefined && account['providerId'] !== 'credential') context.wayIn = { field: 'id', value: String(account['id']) };
  };

  const confirmWayIn = async (userId: unknown): Promise<void> => {
    const wayIn = signInContext.getStore()?.wayIn;
    if (wayIn === undefined) return;
    // An UPDATE, because it waits for whoever is just changing or removing the row, and then looks again.
    const where = [{ field: 'userId', value: userId }, wayIn];
    if ((await run('update', { model: 'account', where, update: { updatedAt: new Date() } })) !== null) return;
    throw new APIError('UNAUTHORIZED', { code: 'INVALID_EMAIL_OR_PASSWORD', message: 'Invalid email or password' });
  };

  const operations = {
    create: async (request: { model: string; data: Row }) => {
      const { model, data } = request;
      const kept = stored(model, data);
      const isPassword = model === 'account' && typeof data['password'] === 'string';
      if (isPassword) await cancelLinks(data['userId']);
      const row = await run('create', { ...request, data: kept });
      if (model === 'user') rememberNewUser(row as Row);
      if (model === 'session') {
        await confirmWayIn(data['userId']);
        await record('session', data['userId']);
        await requestVerification(row as Row);
      }
      if (model === 'account') await afterAccountCreated(row as Row);
      if (isPassword) await afterPasswordWritten(String(data['userId']), String(data['password']));
      return read(model, row as Row | null, new Map([[String(kept['token']), String(data['token'])]]));
    },
    findOne: async (request: { model: string; where: Where[] }) => {
      const { where, rawTokens } = hashTokens(request.model, request.where);
      return read(request.model, (await run('findOne', { ...request, where })) as Row | null, rawTokens);
    },
    findMany: async (request: { model: string; where?: Where[] }) => {
      const { where, rawTokens } = hashTokens(request.model, request.where);
      const rows = (await run('findMany', { ...request, where })) as Row[];
      return rows.map((row) => read(request.model, row, rawTokens)).filter((row) => row !== null);
    },
    update: async (request: { model: string; where: Where[]; update: Row }) => {
      const { model, update } = request;
      const { where, rawTokens } = hashTokens(model, request.where);
      const isPassword = model === 'account' && typeof update['password'] === 'string';
      const given = isPassword ? signInContext.getStore()?.wayIn : undefined;
      if (isPassword) await cancelLinks(((await run('findOne', { model, where })) as Row | null)?.['userId']);
      const row = (await run('update', {
        ...request,
        where: given === undefined ? where : [...where!, given],
        update: stored(model, update),
      })) as Row | null;
      if (row === null && given !== undefined)
        throw new APIError('BAD_REQUEST', { code: 'INVALID_PASSWORD', message: 'The password was changed meanwhile' });
      if (row !== null && model === 'account') rememberWayIn(row);
      if (row !== null && isPassword) await afterPasswordWritten(String(row['userId']), String(update['password']));
      return read(model, row, rawTokens);
    },
    updateMany: async (request: { model: string; where: Where[]; update: Row }) => {
      const { model, update } = request;
      const { where } = hashTokens(model, request.where);
      const userId = where?.find(({ field }) => field === 'userId')?.value;
      if (model === 'account' && typeof update['password'] === 'string') await cancelLinks(userId);
      const changed = await run('updateMany', { ...request, where, update: stored(model, update) });
      if (model === 'account' && typeof update['password'] === 'string') await afterPasswordWritten(String(userId), update['password']);
      return changed;
    },
    delete: async (request: { model: string; where: Where[] }) => {
      const { where } = hashTokens(request.model, request.where);
      const ended = request.model === 'session' ? ((await run('findOne', { ...request, where })) as Row | null) : null;
      await run('delete', { ...request, where });
      if (ended !== null) await record('ended-session', ended['userId']);
    },
    deleteMany: async (request: { model: string; where: Where[] }) => {
      const { model } = request;
      const { where } = hashTokens(model, request.where);
      const userId = where?.find(({ field }) => field === 'userId')?.value;
      // A change of password ends the sessions first; links come before them, as everywhere.
      const endsLinks = model === 'account' || (model === 'session' && signInContext.getStore()?.path === '/change-password');
      if (endsLinks && userId !== undefined) await cancelLinks(userId);
      return run('deleteMany', { ...request, where });
    },
    count: (request: { model: string; where?: Where[] }) =>
      run('count', { ...request, where: hashTokens(request.model, request.where).where }),
    consumeOne: async (request: { model: string; where: Where[] }) => {
      if (request.model === 'verification' && signInContext.getStore()?.path === '/reset-password') return spendResetLink(request.where);
      const { where, rawTokens } = hashTokens(request.model, request.where);
      return read(request.model, (await run('consumeOne', { ...request, where })) as Row | null, rawTokens);
    },
    incrementOne: async (request: { model: string; where: Where[]; increment: Record<string, number>; set?: Row }) => {
      const { where, rawTokens } = hashTokens(request.model, request.where);
      const set = request.set && stored(request.model, request.set);
      return read(request.model, (await run('incrementOne', { ...request, where, set })) as Row | null, rawTokens);
    },
  };
  return Object.assign(adapter, operations);
}

function rememberNewUser({ id, email, emailVerified }: Row): void {
  const context = signInContext.getStore();
  if (context !== undefined) context.newUser = { id: String(id), email: String(email), emailVerified: emailVerified === true };
}

/** Better Auth keeps a bare id with a password reset, and the one who links in the state of OAuth. */
function userOfVerification(value: unknown): string | null {
  if (isId(value)) return value;
  const state = typeof value === 'string' && value.startsWith('{') ? (JSON.parse(value) as { link?: { userId?: unknown } }) : {};
  return isId(state.link?.userId) ? state.link.userId : null;
}

/** Better Auth answers whatever the database throws with a 4xx of its own or a 500; these are known better. */
async function known<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const failure = inOurWords(error);
    const context = signInContext.getStore();
    if (context !== undefined) context.failure = failure;
    throw failure;
  }
}

function inOurWords(error: unknown): Error {
  if (isDatabaseUnavailable(error))
    return new APIError('SERVICE_UNAVAILABLE', { code: 'SERVICE_UNAVAILABLE', message: 'The database is away' });
  if (isUniqueViolation(error, 'users_email_key'))
    return new APIError('CONFLICT', { code: 'EMAIL_TAKEN', message: 'Another account uses this email' });
  if (isUniqueViolation(error, 'accounts_provider_provider_account_id_key') || isDeadlock(error))
    return new APIError('CONFLICT', { code: COLLIDED, message: 'Another request changed the same at the same time' });
  return error instanceof Error ? error : new Error('The database failed', { cause: error });
}

/** Replaces session tokens by their hashes, and remembers which was which. */
function hashTokens(model: string, where: Where[] | undefined): { where: Where[] | undefined; rawTokens: Map<string, string> } {
  const rawTokens = new Map<string, string>();
  if (model !== 'session' || where === undefined) return { where, rawTokens };
  const hash = (token: string) => {
    const hashed = hashSessionToken(token);
    rawTokens.set(hashed, token);
    return hashed;
  };
  return {
    rawTokens,
    where: where.map((condition) => {
      if (condition.field !== 'token') return condition;
      const { value } = condition;
      return { ...condition, value: Array.isArray(value) ? value.map((token) => hash(String(token))) : hash(String(value)) };
    }),
  };
}

import type { Where } from 'better-auth';
import { APIError, getOAuthState } from 'better-auth/api';
import type { AccountsService } from '../../accounts/accounts.service.js';
import type { ProviderTokens } from '../../accounts/provider-tokens.service.js';
import type { SecurityMails } from '../../accounts/security-mails.service.js';
import type { AuditService } from '../../audit/audit.service.js';
import { isId } from '../../platform/crypto/ids.js';
import type { Queryable } from '../../platform/database/database.js';
import type { Takeovers } from '../../users/takeovers.service.js';
import { isLinking, signInContext } from '../better-auth/sign-in-context.js';
import type { EmailVerifications } from '../emails/email-verifications.service.js';
import { actorOf, recordWrite, type Written } from './audit-entries.js';
import { translateFailures } from './database-failures.js';
import type { Operations, Row } from './stored-rows.js';
import type { Clock } from '../../platform/time/clock.service.js';

export interface AdapterServices {
  providerTokens: ProviderTokens;
  audit: AuditService;
  takeovers: Pick<Takeovers, 'endGrantsOfUnverified'>;
  accounts: Pick<AccountsService, 'cancelVerifications'>;
  securityMails: Pick<SecurityMails, 'sendPasswordChanged' | 'sendMethodLinked'>;
  verifications: Pick<EmailVerifications, 'request'>;
  clock: Clock;
}

export function withSignInRules(rows: Operations, rules: SignInRules): Operations {
  return {
    ...rows,
    create: async (query) => {
      const { model, data } = query;
      if (setsPassword(model, data)) await rules.cancelLinks(data['userId']);
      // A new session refers to its user, which locks the user: accounts come first.
      if (model === 'session') await rules.requireSignInMethod(data['userId']);
      const row = await rows.create(query);
      if (model === 'user') rules.afterUserCreated(row);
      if (model === 'session') await rules.afterSessionCreated(row);
      if (model === 'account') await rules.afterAccountCreated(row);
      if (setsPassword(model, data)) await rules.afterPasswordWritten(String(data['userId']), data.password);
      return row;
    },
    update: async (query) => {
      const { model, where, update } = query;
      if (setsPassword(model, update)) return rules.changePassword(where, update);
      const row = await rows.update(query);
      if (row !== null && model === 'account') rules.rememberLinkedAccount(row);
      return row;
    },
    updateMany: async (query) => {
      const { model, where, update } = query;
      const userId = userIdIn(where);
      if (setsPassword(model, update)) await rules.cancelLinks(userId);
      const count = await rows.updateMany(query);
      if (setsPassword(model, update)) await rules.afterPasswordWritten(String(userId), update.password);
      return count;
    },
    delete: async (query) => {
      const ended = query.model === 'session' ? await rows.findOne(query) : null;
      await rows.delete(query);
      if (ended !== null) await rules.record('ended-session', ended['userId']);
    },
    deleteMany: async (query) => {
      await rules.beforeDeleteMany(query.model, query.where);
      return rows.deleteMany(query);
    },
    consumeOne: (query) => (isResetLink(query.model) ? rules.consumeResetLink(query.where) : rows.consumeOne(query)),
  };
}

/** Applies the rules for writes (auth/README.md) in one transaction. Links are cancelled first, to keep one lock order. */
export class SignInRules {
  constructor(
    private readonly rows: Operations,
    private readonly services: AdapterServices,
    private readonly tx: Queryable,
  ) {}

  afterUserCreated({ id, email, emailVerified }: Row): void {
    const context = signInContext.getStore();
    if (context !== undefined) context.newUser = { id: String(id), email: String(email), emailVerified: emailVerified === true };
  }

  async afterSessionCreated(session: Row): Promise<void> {
    await this.record('session', session['userId']);
    await this.requestVerification(session);
  }

  async afterAccountCreated(account: Row): Promise<void> {
    const userId = String(account['userId']);
    const provider = String(account['providerId']);
    this.rememberLinkedAccount(account);
    await this.record('account', userId);
    if (provider === 'credential') return;
    const context = signInContext.getStore();
    // A provider that signs a user in proves the address, which ends what an unproved account set up.
    if (context !== undefined && !(await isLinking(context.path)))
      await this.services.takeovers.endGrantsOfUnverified(userId, actorOf(userId, context), this.tx);
    if (context?.newUser?.id !== userId)
      await translateFailures(() => this.services.securityMails.sendMethodLinked(userId, provider, this.tx));
  }

  /** Replaces a password, but only the one that the caller gave: another request may have changed it meanwhile. */
  async changePassword(where: Where[], update: Row & { password: string }): Promise<Row | null> {
    const given = signInContext.getStore()?.signInMethod;
    await this.cancelLinks((await this.rows.findOne({ model: 'account', where }))?.['userId']);
    const row = await this.rows.update({ model: 'account', where: given === undefined ? where : [...where, given], update });
    if (row === null && given !== undefined)
      throw new APIError('BAD_REQUEST', { code: 'INVALID_PASSWORD', message: 'The password was changed meanwhile' });
    if (row === null) return null;
    this.rememberLinkedAccount(row);
    await this.afterPasswordWritten(String(row['userId']), update.password);
    return row;
  }

  async afterPasswordWritten(userId: string, passwordHash: string): Promise<void> {
    await this.rows.deleteMany({ model: 'session', where: [{ field: 'userId', value: userId }] });
    await this.record('password', userId);
    const context = signInContext.getStore();
    if (context === undefined) return;
    if (context.newUser?.id !== userId) await translateFailures(() => this.services.securityMails.sendPasswordChanged(userId, this.tx));
    context.signInMethod = { field: 'password', value: passwordHash };
    if (context.path !== '/reset-password') return;
    await this.services.takeovers.endGrantsOfUnverified(userId, actorOf(userId, context), this.tx);
    await this.proveAddress(userId);
  }

  async cancelLinks(userId: unknown): Promise<Set<string>> {
    if (!isId(userId)) return new Set();
    return translateFailures(() => this.services.accounts.cancelVerifications(userId, this.tx));
  }

  async beforeDeleteMany(model: string, where: Where[]): Promise<void> {
    // Better Auth ends the sessions before it writes a changed password.
    const isPasswordChange = model === 'session' && signInContext.getStore()?.path === '/change-password';
    if (model === 'account' || isPasswordChange) await this.cancelLinks(userIdIn(where));
  }

  async consumeResetLink(where: Where[]): Promise<Row | null> {
    const link = await this.rows.findOne({ model: 'verification', where });
    if (link === null) return null;
    const cancelled = await this.cancelLinks(link['value']);
    return cancelled.has(String(link['identifier'])) ? link : null;
  }

  rememberLinkedAccount({ id, providerId }: Row): void {
    const context = signInContext.getStore();
    if (context !== undefined && providerId !== 'credential') context.signInMethod = { field: 'id', value: String(id) };
  }

  async record(written: Written, userId: unknown): Promise<void> {
    await recordWrite(this.services.audit, written, String(userId), this.tx);
  }

  async requireSignInMethod(userId: unknown): Promise<void> {
    const method = signInContext.getStore()?.signInMethod;
    if (method === undefined) return;
    // An UPDATE waits for a request that is changing or deleting the row, and then checks again.
    const where = [{ field: 'userId', value: String(userId) }, method];
    if ((await this.rows.update({ model: 'account', where, update: { updatedAt: this.services.clock.now() } })) !== null) return;
    throw new APIError('UNAUTHORIZED', { code: 'INVALID_EMAIL_OR_PASSWORD', message: 'Invalid email or password' });
  }

  /** Requests the verification mail of a sign-up. Its link acts in the session that the sign-up opened. */
  private async requestVerification({ id, userId }: Row): Promise<void> {
    const context = signInContext.getStore();
    const user = context?.newUser;
    if (user === undefined || user.emailVerified || user.id !== userId) return;
    const callbackURL = context?.callbackURL ?? (await getOAuthState())?.callbackURL;
    const request = { email: user.email, callbackURL, sessionId: String(id) };
    await translateFailures(() => this.services.verifications.request(request, this.tx));
  }

  /** The reset link came by mail, which proves the address. The first proof removes all other sign-in methods. */
  private async proveAddress(userId: string): Promise<void> {
    const isUnproved = [
      { field: 'id', value: userId },
      { field: 'emailVerified', value: false },
    ];
    const update = { emailVerified: true, emailVerifiedAt: this.services.clock.now() };
    if ((await this.rows.update({ model: 'user', where: isUnproved, update })) === null) return;
    const where: Where[] = [
      { field: 'userId', value: userId },
      { field: 'providerId', value: 'credential', operator: 'ne' },
    ];
    await this.rows.deleteMany({ model: 'account', where });
  }
}

function setsPassword(model: string, data: Row): data is Row & { password: string } {
  return model === 'account' && typeof data['password'] === 'string';
}

function isResetLink(model: string): boolean {
  return model === 'verification' && signInContext.getStore()?.path === '/reset-password';
}

function userIdIn(where: Where[]): unknown {
  return where.find(({ field }) => field === 'userId')?.value;
}

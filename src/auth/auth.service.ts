import { Injectable, Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { isAPIError } from 'better-auth/api';
import { fromNodeHeaders } from 'better-auth/node';
import type { Request, Response } from 'express';
import { originOf, type Principal } from '../access/principal.js';
import { readCredential } from '../access/credentials/credentials.js';
import { trustedRedirect } from '../access/trusted-redirect.js';
import { sessionCookieNames } from '../access/credentials/session-cookies.js';
import { signSessionToken } from '../access/credentials/session-tokens.js';
import { AccountsService } from '../accounts/accounts.service.js';
import { ProviderTokens } from '../accounts/provider-tokens.service.js';
import { SecurityMails } from '../accounts/security-mails.service.js';
import { AuditService } from '../audit/audit.service.js';
import { ManagedByClerk } from '../platform/problems/problems.errors.js';
import { Config } from '../platform/config/config.js';
import { createDatabase, type Database } from '../platform/database/database.js';
import { OutboxService } from '../outbox/outbox.service.js';
import { Takeovers } from '../users/takeovers.service.js';
import { UsersService } from '../users/users.service.js';
import type { User } from '../users/users.table.js';
import { AuthMails } from './mails/auth-mails.service.js';
import type { ChangePasswordRequest, MailRequest, ResetPasswordRequest, SignInRequest, SignUpRequest } from './auth.dto.js';
import { COLLIDED } from './adapter/database-failures.js';
import { type BetterAuth, createBetterAuth } from './better-auth/better-auth.js';
import { KnownDevices } from './passwords/known-devices.service.js';
import { toAuthProblem } from './better-auth/problem-codes.js';
import { EmailVerifications } from './emails/email-verifications.service.js';
import { forwardedPath } from './better-auth/forwarded-path.js';
import type { LinkVisitor } from './links/link-visitors.service.js';
import { AUTH_BASE_PATH } from './links/mail-link.js';
import { LegacyCookies } from './better-auth/legacy-cookies.service.js';
import { PasswordAttempts } from './passwords/password-attempts.service.js';
import { PasswordRules } from './passwords/password-rules.service.js';
import { Passwords } from './passwords/passwords.service.js';
import { type SignInContext, signInContext } from './better-auth/sign-in-context.js';

/** Better Auth hashes inside its transactions: it must not hold the connections of everybody else. */
const POOL_SIZE = 5;

const RESET_REQUESTED = 'auth.password_reset_requested';

interface ResetRequest extends MailRequest {
  /** Whether it came from a device or network of the owner. Absent in entries of version 0.1. */
  isKnown?: boolean;
}

/** Everything around signing in that is not a rule about users, accounts or sessions themselves. */
@Injectable()
export class AuthService implements OnModuleInit, OnApplicationShutdown {
  private readonly logger = new Logger(AuthService.name);
  private readonly ownDb: Database;
  private readonly betterAuth: BetterAuth;

  constructor(
    private readonly config: Config,
    passwords: Passwords,
    private readonly passwordRules: PasswordRules,
    mails: AuthMails,
    private readonly outbox: OutboxService,
    private readonly users: UsersService,
    private readonly attempts: PasswordAttempts,
    private readonly devices: KnownDevices,
    private readonly legacyCookies: LegacyCookies,
    private readonly verifications: EmailVerifications,
    securityMails: SecurityMails,
    audit: AuditService,
    accounts: AccountsService,
    takeovers: Takeovers,
    providerTokens: ProviderTokens,
  ) {
    this.ownDb = createDatabase({ databaseUrl: config.databaseUrl, databasePoolSize: POOL_SIZE });
    this.betterAuth = createBetterAuth({
      config,
      db: this.ownDb,
      services: { providerTokens, audit, takeovers, accounts, securityMails, verifications },
      passwords,
      mails,
      onError: (message, error) =>
        this.logger.warn(
          { err: error instanceof Error ? { type: error.name, message: firstLine(error.message) } : undefined },
          `Better Auth: ${firstLine(message)}`,
        ),
    });
  }

  onModuleInit(): void {
    this.outbox.handle(RESET_REQUESTED, (payload) => this.sendPasswordReset(payload as ResetRequest));
  }

  async onApplicationShutdown(): Promise<void> {
    await this.ownDb.$client.end();
  }

  /**
   * Lets Better Auth answer a request whose body was checked.
   *
   * @throws {Problem} for every answer of 400 and above
   */
  async forward(request: Request, response: Response, body?: object): Promise<void> {
    await this.reply(await this.ask(request, response, body), response);
  }

  /**
   * As `forward`, under the limits for guessing a password.
   *
   * @throws {RateLimited}
   */
  async signInWithPassword(request: Request, response: Response, body: SignInRequest): Promise<void> {
    const check = () => this.ask(request, response, body);
    await this.reply(await this.attempts.run({ email: body.email }, request, check), response);
  }

  /** @throws {WeakPassword} */
  async signUp(request: Request, response: Response, body: SignUpRequest): Promise<void> {
    await this.passwordRules.require(body.password, body.email);
    await this.forward(request, response, body);
  }

  /** @throws {WeakPassword} before the token is spent */
  async resetPassword(request: Request, response: Response, body: ResetPasswordRequest): Promise<void> {
    const { internalAdapter } = await this.betterAuth.$context;
    const reset = await internalAdapter.findVerificationValue(`reset-password:${body.token}`);
    const user = reset === null ? undefined : await this.users.find(reset.value);
    await this.passwordRules.require(body.newPassword, user?.email ?? null);
    await this.forward(request, response, body);
  }

  /** @throws {ManagedByClerk} @throws {WeakPassword} @throws {RateLimited} for too many wrong passwords */
  async changePassword(caller: Principal, request: Request, response: Response, body: ChangePasswordRequest): Promise<void> {
    const { email } = await this.requireOwn(caller);
    await this.passwordRules.require(body.newPassword, email);
    const check = () => this.ask(request, response, { ...body, revokeOtherSessions: true });
    await this.reply(await this.attempts.run({ sessionId: caller.sessionId }, request, check), response);
  }

  /** Asks Better Auth; its cookies go out in any case. */
  private async ask(request: Request, response: Response, body: object | undefined): Promise<globalThis.Response> {
    const { answer, passwordHash } = await this.askBetterAuth(request, body);
    const cookies = answer.headers.getSetCookie();
    for (const cookie of [...cookies, ...this.legacyCookies.expiredBy(cookies, request.headers.cookie)])
      response.append('set-cookie', cookie);
    if (answer.status >= 400) throw await toAuthProblem(answer);
    const isForgotten = body !== undefined && 'rememberMe' in body && body.rememberMe === false;
    if (passwordHash !== undefined && !isForgotten) this.devices.remember(passwordHash, request, response);
    return answer;
  }

  private async reply(answer: globalThis.Response, response: Response): Promise<void> {
    for (const [name, value] of answer.headers) {
      if (name === 'set-auth-token') response.setHeader(name, decodeURIComponent(value));
      else if (!NOT_PASSED_ON.has(name)) response.setHeader(name, value);
    }
    response.status(answer.status).end(this.withUsableToken(await answer.text()));
  }

  /**
   * As `forward`, for a change to how the caller signs in.
   *
   * @throws {ManagedByClerk} for a user who signs in over there
   */
  async forwardForCaller(caller: Principal, request: Request, response: Response, body: object): Promise<void> {
    await this.requireOwn(caller);
    await this.forward(request, response, body);
  }

  private async requireOwn({ userId }: Principal): Promise<User> {
    const user = await this.users.get(userId);
    if (user.clerkUserId !== null) throw new ManagedByClerk();
    return user;
  }

  /**
   * Ends the session that asks.
   *
   * @throws {ManagedByClerk} for a Clerk token: its session is ended over there, or with `DELETE /v1/sessions`
   */
  async signOut(request: Request, response: Response): Promise<void> {
    if (readCredential(request, sessionCookieNames(this.config.publicUrl))?.kind === 'clerk') throw new ManagedByClerk();
    await this.forward(request, response);
  }

  /** Answers at once, and the same, whoever asks: whether there is such a user is found out afterwards. */
  async requestPasswordReset({ email, ...given }: MailRequest, request: Request): Promise<void> {
    const redirectTo = trustedRedirect(this.config, given.redirectTo);
    const isKnown = (await this.devices.recognize(email, request)) !== undefined;
    await this.outbox.enqueue(RESET_REQUESTED, { email, redirectTo, isKnown } satisfies ResetRequest);
  }

  /** As `requestPasswordReset`. */
  async requestVerification({ email, ...request }: MailRequest, { session }: LinkVisitor): Promise<void> {
    const callbackURL = trustedRedirect(this.config, request.callbackURL);
    await this.verifications.request({ email, callbackURL, sessionId: session?.id });
  }

  /** Signs somebody in without a request: for the demo. Answers the bearer token, or undefined for who may not. */
  async signIn(email: string, password: string): Promise<string | undefined> {
    try {
      const { token } = await this.betterAuth.api.signInEmail({ body: { email, password } });
      return signSessionToken(token, this.config.authSecret);
    } catch (error) {
      if (isAPIError(error) && (error.statusCode === 401 || error.statusCode === 403)) return undefined;
      throw error;
    }
  }

  private async sendPasswordReset({ email, redirectTo, isKnown }: ResetRequest): Promise<void> {
    // Clerk owns how its users sign in.
    if ((await this.users.findByEmail(email))?.clerkUserId != null) return;
    const context = { path: '/request-password-reset', requestId: null, ipAddress: null, isKnown };
    await signInContext.run(context, () => this.betterAuth.api.requestPasswordReset({ body: { email, redirectTo } }));
  }

  /** @returns the answer, and the hash of the password that was given or set */
  private async askBetterAuth(request: Request, body?: object): Promise<{ answer: globalThis.Response; passwordHash?: string }> {
    const path = forwardedPath(request, AUTH_BASE_PATH);
    const about = { path, callbackURL: callbackOf(body), ...originOf(request) };
    const headers = await this.headersFor(request);
    for (let attempt = 1; ; attempt += 1) {
      const context: SignInContext = { ...about };
      const answer = await signInContext.run(context, () => this.betterAuth.handler(this.toWebRequest(path, request, headers, body)));
      const passwordHash = context.signInMethod?.field === 'password' ? context.signInMethod.value : undefined;
      if (attempt === ATTEMPTS || !(await hasCollided(answer))) return { answer, passwordHash };
    }
  }

  private async headersFor(request: Request): Promise<Headers> {
    const headers = fromNodeHeaders(request.headers);
    // An explicit header beats the ambient cookie, and a wrong one never falls through to it.
    if (headers.has('authorization')) headers.delete('cookie');
    const cookie = headers.get('cookie');
    if (cookie !== null) {
      const kept = this.devices.withoutCookie(await this.legacyCookies.withCurrentNames(cookie));
      if (kept === '') headers.delete('cookie');
      else headers.set('cookie', kept);
    }
    headers.delete('content-length');
    headers.delete('transfer-encoding');
    // Node's fetch sends the mode alone, browsers never do; Better Auth would take a server for a browser without an Origin.
    if (!headers.has('sec-fetch-site')) headers.delete('sec-fetch-mode');
    return headers;
  }

  private toWebRequest(path: string, request: Request, headers: Headers, body: object | undefined): globalThis.Request {
    const hasBody = request.method !== 'GET' && request.method !== 'HEAD';
    if (hasBody) headers.set('content-type', 'application/json');
    // Only the query is the caller's: the path that was sent may name another route, or another host.
    const url = new URL(`${this.config.publicUrl}${AUTH_BASE_PATH}${path}`);
    url.search = /\?.*$/s.exec(request.originalUrl)?.[0] ?? '';
    // Following the link of a reset changes nothing, so a HEAD gets the answer of a GET.
    const isLink = request.method === 'HEAD' && path.startsWith('/reset-password/');
    return new globalThis.Request(url, {
      method: isLink ? 'GET' : request.method,
      headers,
      body: hasBody ? JSON.stringify(body ?? {}) : undefined,
    });
  }

  /** Better Auth's JSON carries the bare token, which nothing accepts: callers get the signed one there too. */
  private withUsableToken(body: string): string {
    if (!body.startsWith('{')) return body;
    const answer = JSON.parse(body) as { token?: unknown };
    return typeof answer.token === 'string'
      ? JSON.stringify({ ...answer, token: signSessionToken(answer.token, this.config.authSecret) })
      : body;
  }
}

/** Cookies were passed on already; CORS and caching are ours; the length may change. */
const NOT_PASSED_ON = new Set(['set-cookie', 'content-length', 'access-control-expose-headers', 'cache-control']);

const ATTEMPTS = 3;

function callbackOf(body: object | undefined): string | undefined {
  return body !== undefined && 'callbackURL' in body && typeof body.callbackURL === 'string' ? body.callbackURL : undefined;
}

async function hasCollided(answer: globalThis.Response): Promise<boolean> {
  return answer.status === 409 && (await answer.clone().text()).includes(`"${COLLIDED}"`);
}

/** Drizzle writes the parameters of a failed statement below it. */
function firstLine(text: string): string {
  return text.split('\n', 1)[0]!;
}

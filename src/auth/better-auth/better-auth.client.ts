import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { isAPIError } from 'better-auth/api';
import { fromNodeHeaders } from 'better-auth/node';
import { signSessionToken } from '../../access/credentials/session-tokens.js';
import { AccountsService } from '../../accounts/accounts.service.js';
import { ProviderTokens } from '../../accounts/provider-tokens.service.js';
import { SecurityMails } from '../../accounts/security-mails.service.js';
import { AuditService } from '../../audit/audit.service.js';
import { Config } from '../../platform/config/config.js';
import { Clock } from '../../platform/time/clock.service.js';
import { createDatabase, type Database } from '../../platform/database/database.js';
import { DatabaseMetrics } from '../../platform/database/statements/database-metrics.service.js';
import { Takeovers } from '../../users/takeovers.service.js';
import { COLLIDED } from '../adapter/database-failures.js';
import { EmailVerifications } from '../emails/email-verifications.service.js';
import { AUTH_BASE_PATH } from '../links/mail-link.js';
import { AuthMails } from '../mails/auth-mails.service.js';
import { KnownDevices } from '../passwords/known-devices.service.js';
import { Passwords } from '../passwords/passwords.service.js';
import type { AuthAnswer } from './auth-answer.js';
import type { AuthRequest } from './auth-request.js';
import { type BetterAuth, createBetterAuth } from './better-auth.js';
import { LegacyCookies } from './legacy-cookies.service.js';
import { toAuthProblem } from './problem-codes.js';
import { type SignInContext, signInContext } from './sign-in-context.js';

/** Better Auth hashes passwords inside transactions, so it gets its own connections and cannot use up the others. */
const POOL_SIZE = 5;

const MAX_ATTEMPTS = 3;

/** Cookies are sent separately, CORS and caching are ours, and the length may change. */
const DROPPED_HEADERS = new Set(['set-cookie', 'content-length', 'access-control-expose-headers', 'cache-control']);

/** Calls Better Auth, which runs in this process and speaks HTTP requests and responses. */
@Injectable()
export class BetterAuthClient implements OnApplicationShutdown {
  private readonly logger = new Logger(BetterAuthClient.name);
  private readonly db: Database;
  private readonly betterAuth: BetterAuth;

  constructor(
    private readonly config: Config,
    private readonly devices: KnownDevices,
    private readonly legacyCookies: LegacyCookies,
    passwords: Passwords,
    mails: AuthMails,
    verifications: EmailVerifications,
    securityMails: SecurityMails,
    audit: AuditService,
    accounts: AccountsService,
    takeovers: Takeovers,
    providerTokens: ProviderTokens,
    clock: Clock,
    databaseMetrics: DatabaseMetrics,
  ) {
    this.db = createDatabase({ databaseUrl: config.databaseUrl, databasePoolSize: POOL_SIZE });
    databaseMetrics.watch('sign_in', this.db.$client);
    this.betterAuth = createBetterAuth({
      config,
      db: this.db,
      services: { providerTokens, audit, takeovers, accounts, securityMails, verifications, clock },
      passwords,
      mails,
      onError: (message, error) => this.logError(message, error),
    });
  }

  async onApplicationShutdown(): Promise<void> {
    await this.db.$client.end();
  }

  /** Sends a request with a validated body. @throws {Problem} for every response of 400 and above, with the cookies of that response */
  async send(request: AuthRequest, body?: object): Promise<AuthAnswer> {
    const { response, passwordHash } = await this.sendWithRetries(request, body);
    const cookies = response.headers.getSetCookie();
    cookies.push(...this.legacyCookies.expiredBy(cookies, request.headers.cookie));
    if (response.status >= 400) throw await toAuthProblem(response, cookies);
    const isForgotten = body !== undefined && 'rememberMe' in body && body.rememberMe === false;
    if (passwordHash !== undefined && !isForgotten) cookies.push(...this.devices.remember(passwordHash, request));
    return { status: response.status, headers: headersOf(response), cookies, body: this.withSignedToken(await response.text()) };
  }

  /** Signs a user in without a request, for the demo. Returns the bearer token, or undefined when that is refused. */
  async signIn(email: string, password: string): Promise<string | undefined> {
    try {
      const { token } = await this.betterAuth.api.signInEmail({ body: { email, password } });
      return signSessionToken(token, this.config.authSecret);
    } catch (error) {
      if (isAPIError(error) && (error.statusCode === 401 || error.statusCode === 403)) return undefined;
      throw error;
    }
  }

  async sendPasswordReset(email: string, redirectTo: string | undefined, isKnown: boolean | undefined): Promise<void> {
    const context = { path: '/request-password-reset', requestId: null, ipAddress: null, isKnown };
    await signInContext.run(context, () => this.betterAuth.api.requestPasswordReset({ body: { email, redirectTo } }));
  }

  async findResetUserId(token: string): Promise<string | undefined> {
    const { internalAdapter } = await this.betterAuth.$context;
    return (await internalAdapter.findVerificationValue(`reset-password:${token}`))?.value;
  }

  /** Sends again after a lost race. Also returns the hash of the password that the request gave or set. */
  private async sendWithRetries(request: AuthRequest, body?: object): Promise<{ response: Response; passwordHash?: string }> {
    const headers = await this.headersFor(request);
    for (let attempt = 1; ; attempt += 1) {
      const context: SignInContext = { path: request.path, callbackURL: callbackIn(body), ...request.origin };
      const response = await signInContext.run(context, () => this.betterAuth.handler(this.toWebRequest(request, headers, body)));
      const passwordHash = context.signInMethod?.field === 'password' ? context.signInMethod.value : undefined;
      if (attempt === MAX_ATTEMPTS || !(await hasCollided(response))) return { response, passwordHash };
    }
  }

  private async headersFor(request: AuthRequest): Promise<Headers> {
    const headers = fromNodeHeaders(request.headers);
    // A header takes precedence over a cookie, also when it is wrong.
    if (headers.has('authorization')) headers.delete('cookie');
    const cookie = headers.get('cookie');
    if (cookie !== null) {
      const kept = this.devices.withoutCookie(await this.legacyCookies.withCurrentNames(cookie));
      if (kept === '') headers.delete('cookie');
      else headers.set('cookie', kept);
    }
    headers.delete('content-length');
    headers.delete('transfer-encoding');
    // Node's fetch sends the mode alone, browsers never do. Better Auth would treat it as a browser without an Origin.
    if (!headers.has('sec-fetch-site')) headers.delete('sec-fetch-mode');
    return headers;
  }

  private toWebRequest({ method, path, query }: AuthRequest, headers: Headers, body: object | undefined): Request {
    const hasBody = method !== 'GET' && method !== 'HEAD';
    if (hasBody) headers.set('content-type', 'application/json');
    // Only the query comes from the caller: the path that was sent may name another route or host.
    const url = new URL(`${this.config.publicUrl}${AUTH_BASE_PATH}${path}`);
    url.search = query;
    // Opening a reset link changes nothing, so a HEAD request is answered like a GET.
    const isLink = method === 'HEAD' && path.startsWith('/reset-password/');
    return new Request(url, { method: isLink ? 'GET' : method, headers, body: hasBody ? JSON.stringify(body ?? {}) : undefined });
  }

  /** Better Auth's JSON contains the unsigned token, which no route accepts. */
  private withSignedToken(body: string): string {
    if (!body.startsWith('{')) return body;
    const answer = JSON.parse(body) as { token?: unknown };
    return typeof answer.token === 'string'
      ? JSON.stringify({ ...answer, token: signSessionToken(answer.token, this.config.authSecret) })
      : body;
  }

  private logError(message: string, error: unknown): void {
    const err = error instanceof Error ? { type: error.name, message: firstLine(error.message) } : undefined;
    this.logger.warn({ err }, `Better Auth: ${firstLine(message)}`);
  }
}

function headersOf({ headers }: Response): Record<string, string> {
  const kept = [...headers].filter(([name]) => !DROPPED_HEADERS.has(name));
  return Object.fromEntries(kept.map(([name, value]) => [name, name === 'set-auth-token' ? decodeURIComponent(value) : value]));
}

function callbackIn(body: object | undefined): string | undefined {
  return body !== undefined && 'callbackURL' in body && typeof body.callbackURL === 'string' ? body.callbackURL : undefined;
}

async function hasCollided(response: Response): Promise<boolean> {
  return response.status === 409 && (await response.clone().text()).includes(`"${COLLIDED}"`);
}

/** Drizzle appends the parameters of a failed statement on further lines, and they must not be logged. */
function firstLine(text: string): string {
  return text.split('\n', 1)[0]!;
}

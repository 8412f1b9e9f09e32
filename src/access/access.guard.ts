import { createSecretKey, type KeyObject } from 'node:crypto';
import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { Request, Response } from 'express';
import { Config } from '../platform/config/config.js';
import { isTrustedOrigin } from '../platform/config/trusted-origins.js';
import { isId } from '../platform/crypto/ids.js';
import { clientAddressOf } from '../platform/http/network-addresses.js';
import { InvalidRequest } from '../platform/problems/problems.errors.js';
import { ACCESS, type Access, type Limit, LIMITS, SCOPES } from './access.decorators.js';
import {
  AccessUndeclared,
  InvalidCredentials,
  OperatorOnly,
  OrganizationNotFound,
  RoleRequired,
  ScopeRequired,
  SessionRequired,
  SignedOut,
  UntrustedOrigin,
  UserSuspended,
} from './access.errors.js';
import { AccessRepository, type SessionAccess } from './access.repository.js';
import { hashApiKey } from './credentials/api-key-tokens.js';
import { ClerkSignIn } from './credentials/clerk-sign-in.port.js';
import { type ClerkIdentity, ClerkTokens } from './credentials/clerk-tokens.service.js';
import { type Credential, readCredential } from './credentials/credentials.js';
import { KnownCallers } from './credentials/known-callers.js';
import { expiredCookieLine, type SessionCookieNames, sessionCookieNames, setCookieLine } from './credentials/session-cookies.js';
import { hashSessionToken, readSignedToken } from './credentials/session-tokens.js';
import { type Actor, type KeyPrincipal, originOf, type Principal, setPrincipal, type UserPrincipal } from './principal.js';
import { isLeased } from './leases/leases.service.js';
import { RateLimiter } from './rate-limits/rate-limiter.service.js';
import { countRequest, reportLimits } from './rate-limits/request-limits.js';
import { Uses } from './uses/uses.service.js';
import { SystemClock } from '../platform/time/clock.service.js';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

type SessionCredential = Extract<Credential, { kind: 'session' }>;

interface RouteAccess {
  access: Access | undefined;
  scopes: readonly string[] | undefined;
  limits: readonly Limit[];
}

interface AccessRequest extends RouteAccess {
  access: Access;
  request: Request;
  response: Response;
  /** Set when the route requires a role in the organization of its path. */
  organizationId?: string;
}

interface Lookup<T> {
  /** Without one, the call is counted by its address. */
  credential: string | undefined;
  lookUp: (credential: string) => Promise<T | undefined>;
  /** The user or organization that the call is counted for. */
  callerOf: (found: T) => string;
}

@Injectable()
export class AccessGuard implements CanActivate {
  private readonly cookieNames: SessionCookieNames;
  private readonly sessionKey: KeyObject;
  private readonly routes = new WeakMap<object, RouteAccess>();
  private readonly callers = new KnownCallers();

  constructor(
    private readonly reflector: Reflector,
    private readonly repository: AccessRepository,
    private readonly limiter: RateLimiter,
    private readonly uses: Uses,
    private readonly clerkTokens: ClerkTokens,
    private readonly clerkSignIn: ClerkSignIn,
    private readonly clock: SystemClock,
    private readonly config: Config,
  ) {
    this.cookieNames = sessionCookieNames(config.publicUrl);
    // Created once: making it from text costs more than the check itself.
    this.sessionKey = createSecretKey(config.authSecret, 'utf8');
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const route = this.routeAccessOf(context);
    const { access } = route;
    if (access === undefined) throw new AccessUndeclared();
    const http = context.switchToHttp();
    const [request, response] = [http.getRequest<Request>(), http.getResponse<Response>()];
    const call: AccessRequest = { ...route, access, request, response };

    if (access === 'public') {
      await this.count(call);
      return true;
    }
    const given: unknown = Array.isArray(access) ? request.params['organizationId'] : undefined;
    if (isId(given)) call.organizationId = given.toLowerCase();
    const principal = await this.authenticate(call);
    if (Array.isArray(access) && call.organizationId === undefined) throw malformedOrganizationId();
    // Before a refusal, so that its line in the log names the caller.
    setPrincipal(request, principal);
    await this.authorize(principal, call);
    return true;
  }

  private async authenticate(call: AccessRequest): Promise<Principal> {
    const credential = await this.chargeOnFailure(() => readCredential(call.request, this.cookieNames), call);
    if (credential?.kind === 'clerk') return this.authenticateClerk(credential.token, call);
    if (credential?.kind === 'api-key') return this.authenticateKey(credential.key, call);
    return this.authenticateSession(credential, call);
  }

  private async authenticateSession(credential: SessionCredential | undefined, call: AccessRequest): Promise<UserPrincipal> {
    const token = credential && readSignedToken(credential.token, this.sessionKey);
    const tokenHash = token === undefined ? undefined : hashSessionToken(token);
    const lookUp = (hash: string) => this.repository.findSession(hash, call.organizationId);
    const found = await this.countAnd({ credential: tokenHash, lookUp, callerOf: ({ userId }) => userId }, call);
    if (credential === undefined) throw new SignedOut();
    if (found === undefined) throw new InvalidCredentials();
    // Another subdomain can set a cookie with the legacy name, so it counts only for sessions that have no other.
    if (credential.hasLegacyName && !found.legacyCookie) throw new InvalidCredentials();
    if (credential.fromCookie) this.requireTrustedOrigin(call.request);
    const isExtended = found.endsSoon !== null && this.uses.recordSession(found.sessionId, found.endsSoon);
    if (isExtended && credential.fromCookie && found.extendedTo !== null) this.renewCookie(credential, found.extendedTo, call.response);
    return toPrincipal(found, call);
  }

  private async authenticateClerk(token: string, call: AccessRequest): Promise<UserPrincipal> {
    const identity = await this.chargeOnFailure(() => this.clerkTokens.verify(token), call);
    const lookUp = () => this.repository.findClerkSession(identity, call.organizationId);
    const found = await this.countAnd({ credential: identity.clerkUserId, lookUp, callerOf: ({ userId }) => userId }, call);
    const isNew = found?.sessionId == null && found?.refused !== true;
    const known = isNew ? await this.provisionClerkSession(identity, call) : found;
    if (known === undefined || known.refused || known.sessionId === null) throw new InvalidCredentials();
    if (known.endsSoon !== null) this.uses.recordSession(known.sessionId, known.endsSoon);
    return toPrincipal({ ...known, sessionId: known.sessionId }, call);
  }

  private async provisionClerkSession(identity: ClerkIdentity, { request, organizationId }: AccessRequest) {
    await this.clerkSignIn.provision(identity, { ipAddress: clientAddressOf(request), userAgent: request.headers['user-agent'] });
    return this.repository.findClerkSession(identity, organizationId);
  }

  private async authenticateKey(key: string, call: AccessRequest): Promise<KeyPrincipal> {
    const lookUp = (hash: string) => this.repository.findApiKey(hash);
    const found = await this.countAnd({ credential: hashApiKey(key), lookUp, callerOf: ({ organizationId }) => organizationId }, call);
    if (found === undefined) throw new InvalidCredentials();
    const { apiKeyId, organizationId, scopes, isUseDue } = found;
    if (isUseDue) this.uses.recordApiKey(apiKeyId);
    return { apiKeyId, organizationId, scopes, actor: actorOf('api_key', apiKeyId, call.request) };
  }

  /** Looks a credential up and counts the call for its caller: in one round trip, where the caller is known from before. */
  private async countAnd<T>({ credential, lookUp, callerOf }: Lookup<T>, call: AccessRequest): Promise<T | undefined> {
    if (credential === undefined) {
      await this.count(call);
      return undefined;
    }
    const known = this.callers.get(credential);
    if (known !== undefined) this.refuseAgain(known, call);
    const isByCaller = call.limits.some(isLeased);
    const counting = known === undefined && isByCaller ? undefined : countRequest(this.limiter, call.limits, call.request, known);
    const [early, found] =
      counting instanceof Promise ? await Promise.all([counting, lookUp(credential)]) : [counting, await lookUp(credential)];
    const caller = found && callerOf(found);
    if (caller !== known) this.callers.set(credential, caller);
    const isCounted = early !== undefined && (caller === known || !isByCaller);
    if (isCounted) reportLimits(early, call.response);
    else await this.count(call, caller);
    return found;
  }

  private count({ limits, request, response }: AccessRequest, caller?: string): void | Promise<void> {
    const counted = countRequest(this.limiter, limits, request, caller);
    return counted instanceof Promise ? counted.then((results) => reportLimits(results, response)) : reportLimits(counted, response);
  }

  private refuseAgain(caller: string, { limits, response }: AccessRequest): void {
    const refusal = limits.length === 1 ? this.limiter.refusalOf(limits[0]!, caller) : undefined;
    if (refusal !== undefined) reportLimits([refusal], response);
  }

  /** A malformed credential counts against its sender too, so that a flood of them is limited. */
  private async chargeOnFailure<T>(read: () => T | Promise<T>, call: AccessRequest): Promise<T> {
    try {
      return await read();
    } catch (error) {
      await this.count(call);
      throw error;
    }
  }

  /** Answers 404 rather than 403 where the caller must not learn that the organization exists. */
  private async authorize(principal: Principal, { access, scopes, organizationId, request }: AccessRequest): Promise<void> {
    if ('apiKeyId' in principal) {
      if (organizationId !== undefined && principal.organizationId !== organizationId) throw new OrganizationNotFound();
      if (scopes === undefined) throw new SessionRequired();
      if (!scopes.every((scope) => principal.scopes.includes(scope))) throw new ScopeRequired();
      return;
    }
    if (access === 'operator' && !principal.operator) throw new OperatorOnly();
    if (!Array.isArray(access) || organizationId === undefined) return;
    if (principal.role !== null) {
      if (!access.includes(principal.role)) throw new RoleRequired();
      return;
    }
    const mayRead = principal.operator && principal.organizationExists && SAFE_METHODS.has(request.method);
    if (!mayRead) throw new OrganizationNotFound();
    await this.repository.recordOperatorRead(principal.userId, organizationId, { ...principal.actor, path: request.path });
  }

  private routeAccessOf(context: ExecutionContext): RouteAccess {
    const handler = context.getHandler();
    let route = this.routes.get(handler);
    if (route === undefined) {
      const targets = [handler, context.getClass()];
      route = {
        access: this.reflector.getAllAndOverride<Access | undefined>(ACCESS, targets),
        scopes: this.reflector.getAllAndOverride<string[] | undefined>(SCOPES, targets),
        limits: this.reflector.getAllAndOverride<Limit[] | undefined>(LIMITS, targets) ?? ['api'],
      };
      this.routes.set(handler, route);
    }
    return route;
  }

  /** Browsers send cookies with requests from any site; only the Origin names the site. */
  private requireTrustedOrigin(request: Request): void {
    if (SAFE_METHODS.has(request.method)) return;
    const { origin } = request.headers;
    if (origin === undefined || !isTrustedOrigin(this.config.trustedOrigins, origin)) throw new UntrustedOrigin();
  }

  /** The session was extended, so the browser must keep its cookie longer too. */
  private renewCookie({ token, hasLegacyName }: SessionCredential, expiresAt: Date, response: Response): void {
    const maxAge = Math.max(0, Math.floor((expiresAt.getTime() - this.clock.now().getTime()) / 1000));
    const secure = this.config.publicUrl.startsWith('https:');
    response.append('set-cookie', setCookieLine(this.cookieNames.current, token, { maxAge, secure }));
    if (hasLegacyName) response.append('set-cookie', expiredCookieLine(this.cookieNames.legacy!));
  }
}

function toPrincipal(found: SessionAccess, { request }: AccessRequest): UserPrincipal {
  if (found.suspended) throw new UserSuspended();
  const { userId, sessionId, operator, role = null, organizationExists = false } = found;
  return { userId, sessionId, operator, role, organizationExists, actor: actorOf('user', userId, request) };
}

function actorOf(kind: Actor['kind'], id: string, request: Request): Actor {
  return { kind, id, ...originOf(request) };
}

function malformedOrganizationId(): InvalidRequest {
  return new InvalidRequest({ errors: [{ path: 'params.organizationId', message: 'organizationId must be a UUID' }] });
}

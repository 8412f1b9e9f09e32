import { createSecretKey, type KeyObject } from 'node:crypto';
import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { Request, Response } from 'express';
import { InvalidRequest } from '../platform/problems/problems.errors.js';
import { isId } from '../platform/crypto/ids.js';
import { clientAddressOf } from '../platform/http/network-addresses.js';
import { Config } from '../platform/config/config.js';
import { isTrustedOrigin } from '../platform/config/trusted-origins.js';
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
import { type Actor, type KeyPrincipal, originOf, type Principal, setPrincipal } from './principal.js';
import { RateLimiter } from './rate-limits/rate-limiter.service.js';
import {
  expiredCookie,
  hashSessionToken,
  readSignedToken,
  type SessionCookieNames,
  sessionCookieNames,
} from './credentials/session-tokens.js';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

type SessionCredential = Extract<Credential, { kind: 'session' }>;

interface Declared {
  access: Access | undefined;
  scopes: readonly string[] | undefined;
  limits: readonly Limit[];
}

/** One request on its way through the guard. */
interface AccessRequest extends Declared {
  access: Access;
  request: Request;
  response: Response;
  /** The organization that the path names, where the route asks for a role in it. */
  organizationId?: string;
}

/** Stands before every route: who calls, may they, and not too fast. */
@Injectable()
export class AccessGuard implements CanActivate {
  private readonly cookieNames: SessionCookieNames;
  private readonly sessionKey: KeyObject;
  private readonly declared = new WeakMap<object, Declared>();

  constructor(
    private readonly reflector: Reflector,
    private readonly repository: AccessRepository,
    private readonly limiter: RateLimiter,
    private readonly clerkTokens: ClerkTokens,
    private readonly clerkSignIn: ClerkSignIn,
    private readonly config: Config,
  ) {
    this.cookieNames = sessionCookieNames(config.publicUrl);
    // Made of text anew for each request, it would cost more than the check.
    this.sessionKey = createSecretKey(config.authSecret, 'utf8');
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const declared = this.declarationOf(context);
    const { access, limits } = declared;
    if (access === undefined) throw new AccessUndeclared();
    const http = context.switchToHttp();
    const [request, response] = [http.getRequest<Request>(), http.getResponse<Response>()];

    if (access === 'public') {
      this.limiter.report(await this.limiter.spend(limits, request, {}), response);
      return true;
    }
    const named: unknown = Array.isArray(access) ? request.params['organizationId'] : undefined;
    const visit: AccessRequest = { ...declared, access, request, response, organizationId: isId(named) ? named.toLowerCase() : undefined };
    const principal = await this.authenticate(visit);
    if (Array.isArray(access) && visit.organizationId === undefined) throw malformedOrganizationId();
    await this.authorize(principal, visit);
    setPrincipal(request, principal);
    return true;
  }

  private async authenticate(visit: AccessRequest): Promise<Principal | KeyPrincipal> {
    const credential = await this.chargeOnFailure(() => readCredential(visit.request, this.cookieNames), visit);
    if (credential?.kind === 'clerk') return this.authenticateClerk(credential.token, visit);
    if (credential?.kind === 'api-key') return this.authenticateKey(credential.key, visit);
    return this.authenticateSession(credential, visit);
  }

  private async authenticateSession(credential: SessionCredential | undefined, visit: AccessRequest): Promise<Principal> {
    const { request, response, limits, organizationId } = visit;
    const token = credential && readSignedToken(credential.token, this.sessionKey);
    const tokenHash = token === undefined ? undefined : hashSessionToken(token);
    // One flight: the allowance is spent for whoever the session belongs to, found in its own statement.
    const [spent, found] = await Promise.all([
      this.limiter.spend(limits, request, { tokenHash }),
      tokenHash === undefined ? undefined : this.repository.findSession(tokenHash, organizationId),
    ]);
    this.limiter.report(spent, response);
    if (credential === undefined) throw new SignedOut();
    if (found === undefined) throw new InvalidCredentials();
    // Another subdomain can plant a cookie of the legacy name: it counts for the sessions that have no other.
    if (credential.hasLegacyName && !found.legacyCookie) throw new InvalidCredentials();
    if (credential.fromCookie) this.requireTrustedOrigin(request);
    if (credential.fromCookie && found.prolongedTo !== null) this.renewCookie(credential, found.prolongedTo, response);
    return toPrincipal(found, visit);
  }

  private async authenticateClerk(token: string, visit: AccessRequest): Promise<Principal> {
    const { request, response, limits, organizationId } = visit;
    const identity = await this.chargeOnFailure(() => this.clerkTokens.verify(token), visit);
    const [spent, found] = await Promise.all([
      this.limiter.spend(limits, request, { clerkUserId: identity.clerkUserId }),
      this.repository.findClerkSession(identity, organizationId),
    ]);
    this.limiter.report(spent, response);
    const isNew = found?.sessionId == null && found?.refused !== true;
    const known = isNew ? await this.meetClerkSession(identity, visit) : found;
    if (known === undefined || known.refused || known.sessionId === null) throw new InvalidCredentials();
    return toPrincipal({ ...known, sessionId: known.sessionId }, visit);
  }

  /** A flood of credentials that nobody can read spends its sender's allowance too. */
  private async chargeOnFailure<T>(read: () => T | Promise<T>, { request, response, limits }: AccessRequest): Promise<T> {
    try {
      return await read();
    } catch (error) {
      this.limiter.report(await this.limiter.spend(limits, request, {}), response);
      throw error;
    }
  }

  private async meetClerkSession(identity: ClerkIdentity, { request, organizationId }: AccessRequest) {
    await this.clerkSignIn.provision(identity, { ipAddress: clientAddressOf(request), userAgent: request.headers['user-agent'] });
    return this.repository.findClerkSession(identity, organizationId);
  }

  private async authenticateKey(key: string, { request, response, limits }: AccessRequest): Promise<KeyPrincipal> {
    const apiKeyHash = hashApiKey(key);
    const [spent, found] = await Promise.all([this.limiter.spend(limits, request, { apiKeyHash }), this.repository.findApiKey(apiKeyHash)]);
    this.limiter.report(spent, response);
    if (found === undefined) throw new InvalidCredentials();
    return { ...found, actor: actorOf('api_key', found.apiKeyId, request) };
  }

  /** What the caller may do here; 404 where they may not even know that there is something. */
  private async authorize(principal: Principal | KeyPrincipal, { access, scopes, organizationId, request }: AccessRequest): Promise<void> {
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
    const mayLookIn = principal.operator && principal.organizationExists && SAFE_METHODS.has(request.method);
    if (!mayLookIn) throw new OrganizationNotFound();
    await this.repository.recordOperatorRead(principal.userId, organizationId, { ...principal.actor, path: request.path });
  }

  private declarationOf(context: ExecutionContext): Declared {
    const handler = context.getHandler();
    let declared = this.declared.get(handler);
    if (declared === undefined) {
      const targets = [handler, context.getClass()];
      declared = {
        access: this.reflector.getAllAndOverride<Access | undefined>(ACCESS, targets),
        scopes: this.reflector.getAllAndOverride<string[] | undefined>(SCOPES, targets),
        limits: this.reflector.getAllAndOverride<Limit[] | undefined>(LIMITS, targets) ?? ['api'],
      };
      this.declared.set(handler, declared);
    }
    return declared;
  }

  /** Browsers send cookies along from any site; only the Origin tells whose page asked. */
  private requireTrustedOrigin(request: Request): void {
    if (SAFE_METHODS.has(request.method)) return;
    const { origin } = request.headers;
    if (origin === undefined || !isTrustedOrigin(this.config.trustedOrigins, origin)) throw new UntrustedOrigin();
  }

  /** The row lives longer now; so must the browser's cookie. */
  private renewCookie({ token, hasLegacyName }: SessionCredential, expiresAt: Date, response: Response): void {
    const maxAge = Math.max(0, Math.floor((expiresAt.getTime() - Date.now()) / 1000));
    const secure = this.config.publicUrl.startsWith('https:') ? '; Secure' : '';
    response.append('set-cookie', `${this.cookieNames.current}=${token}; Max-Age=${maxAge}; Path=/; HttpOnly; SameSite=Lax${secure}`);
    if (hasLegacyName) response.append('set-cookie', expiredCookie(this.cookieNames.legacy!));
  }
}

function toPrincipal(found: SessionAccess, { request }: AccessRequest): Principal {
  if (found.suspended) throw new UserSuspended();
  const { userId, sessionId, operator, role = null, organization = false } = found;
  return { userId, sessionId, operator, role, organizationExists: organization, actor: actorOf('user', userId, request) };
}

function actorOf(kind: Actor['kind'], id: string, request: Request): Actor {
  return { kind, id, ...originOf(request) };
}

function malformedOrganizationId(): InvalidRequest {
  return new InvalidRequest({ errors: [{ path: 'params.organizationId', message: 'organizationId must be a UUID' }] });
}

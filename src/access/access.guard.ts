import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { Request, Response } from 'express';
import { Config } from '../config/config.js';
import { ACCESS, type Access, type Limit, LIMITS } from './access.decorators.js';
import { AccessUndeclared, InvalidCredentials, OperatorOnly, SignedOut, UntrustedOrigin, UserSuspended } from './access.errors.js';
import { AccessRepository } from './access.repository.js';
import { ClerkSignIn } from './clerk-sign-in.port.js';
import { type ClerkIdentity, ClerkTokens } from './clerk-tokens.js';
import { type Credential, readCredential } from './credentials.js';
import { type Principal, setPrincipal } from './principal.js';
import { RateLimiter } from './rate-limiter.js';
import { hashSessionToken, readSignedToken, sessionCookieName } from './session-tokens.js';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

interface Declared {
  access: Access | undefined;
  limits: readonly Limit[];
}

interface Found extends Omit<Principal, 'sessionId'> {
  sessionId: string;
  suspended: boolean;
  prolongedTo?: Date | null;
}

/** Stands before every route: who calls, may they, and not too fast. */
@Injectable()
export class AccessGuard implements CanActivate {
  private readonly cookieName: string;
  private readonly trustedOrigins: ReadonlySet<string>;
  private readonly declared = new WeakMap<object, Declared>();

  constructor(
    private readonly reflector: Reflector,
    private readonly repository: AccessRepository,
    private readonly limiter: RateLimiter,
    private readonly clerkTokens: ClerkTokens,
    private readonly clerkSignIn: ClerkSignIn,
    private readonly config: Config,
  ) {
    this.cookieName = sessionCookieName(config.publicUrl);
    this.trustedOrigins = new Set(config.trustedOrigins);
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const { access, limits } = this.declarationOf(context);
    if (access === undefined) throw new AccessUndeclared();
    const http = context.switchToHttp();
    const [request, response] = [http.getRequest<Request>(), http.getResponse<Response>()];

    if (access === 'public') {
      this.limiter.report(await this.limiter.spend(limits, request, {}), response);
      return true;
    }
    const principal = await this.authenticate(request, response, limits);
    if (access === 'operator' && !principal.operator) throw new OperatorOnly();
    setPrincipal(request, principal);
    return true;
  }

  private async authenticate(request: Request, response: Response, limits: readonly Limit[]): Promise<Principal> {
    const credential = await this.orSpent(() => readCredential(request, this.cookieName), request, response, limits);
    if (credential?.kind === 'clerk') return this.authenticateClerk(credential.token, request, response, limits);

    const token = credential && readSignedToken(credential.token, this.config.authSecret);
    const tokenHash = token === undefined ? undefined : hashSessionToken(token);
    // One flight: the allowance is spent for whoever the session belongs to, found in its own statement.
    const [spent, found] = await Promise.all([
      this.limiter.spend(limits, request, { tokenHash }),
      tokenHash === undefined ? undefined : this.repository.findSession(tokenHash),
    ]);
    this.limiter.report(spent, response);
    if (credential === undefined) throw new SignedOut();
    if (found === undefined) throw new InvalidCredentials();
    if (credential.fromCookie) this.requireTrustedOrigin(request);
    if (credential.fromCookie && found.prolongedTo !== null) this.renewCookie(credential, found.prolongedTo, response);
    return admitted(found);
  }

  private async authenticateClerk(token: string, request: Request, response: Response, limits: readonly Limit[]): Promise<Principal> {
    const identity = await this.orSpent(() => this.clerkTokens.verify(token), request, response, limits);
    const [spent, found] = await Promise.all([
      this.limiter.spend(limits, request, { clerkUserId: identity.clerkUserId }),
      this.repository.findClerkSession(identity),
    ]);
    this.limiter.report(spent, response);
    const known = found?.sessionId == null && found?.refused !== true ? await this.meetClerkSession(identity, request) : found;
    if (known === undefined || known.refused || known.sessionId === null) throw new InvalidCredentials();
    return admitted({ ...known, sessionId: known.sessionId });
  }

  /** A flood of credentials that nobody can read spends its sender's allowance too. */
  private async orSpent<T>(read: () => T | Promise<T>, request: Request, response: Response, limits: readonly Limit[]): Promise<T> {
    try {
      return await read();
    } catch (error) {
      this.limiter.report(await this.limiter.spend(limits, request, {}), response);
      throw error;
    }
  }

  private async meetClerkSession(identity: ClerkIdentity, request: Request) {
    await this.clerkSignIn.admit(identity, { ipAddress: request.ip, userAgent: request.headers['user-agent'] });
    return this.repository.findClerkSession(identity);
  }

  private declarationOf(context: ExecutionContext): Declared {
    const handler = context.getHandler();
    let declared = this.declared.get(handler);
    if (declared === undefined) {
      const targets = [handler, context.getClass()];
      declared = {
        access: this.reflector.getAllAndOverride<Access | undefined>(ACCESS, targets),
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
    if (origin === undefined || !this.trustedOrigins.has(origin)) throw new UntrustedOrigin();
  }

  /** The row lives longer now; so must the browser's cookie. */
  private renewCookie(credential: NonNullable<Credential>, expiresAt: Date, response: Response): void {
    const maxAge = Math.max(0, Math.floor((expiresAt.getTime() - Date.now()) / 1000));
    const secure = this.config.publicUrl.startsWith('https:') ? '; Secure' : '';
    response.append('set-cookie', `${this.cookieName}=${credential.token}; Max-Age=${maxAge}; Path=/; HttpOnly; SameSite=Lax${secure}`);
  }
}

function admitted({ userId, sessionId, operator, suspended }: Found): Principal {
  if (suspended) throw new UserSuspended();
  return { userId, sessionId, operator };
}

import { Injectable } from '@nestjs/common';
import { AmbiguousCredentials, InvalidCredentials, UserSuspended } from '../../access/access.errors.js';
import { type Credential, readCredential } from '../../access/credentials/credentials.js';
import { sessionCookieNames } from '../../access/credentials/session-cookies.js';
import { hashSessionToken, readSignedToken } from '../../access/credentials/session-tokens.js';
import { AccountsService } from '../../accounts/accounts.service.js';
import { Config } from '../../platform/config/config.js';
import { isTrustedOrigin } from '../../platform/config/trusted-origins.js';
import { SessionsService } from '../../sessions/sessions.service.js';
import { UsersService } from '../../users/users.service.js';
import type { User } from '../../users/users.table.js';
import { InvalidToken, LinkProofRequired, WrongPassword } from '../auth.errors.js';
import type { AuthRequest } from '../better-auth/auth-request.js';
import type { LinkOwner } from './mail-link.js';
import { PasswordAttempts } from '../passwords/password-attempts.service.js';
import { Passwords } from '../passwords/passwords.service.js';

export interface LinkVisitor {
  session?: { id: string; userId: string };
  /** Whether opening the link may act: true for a GET, but not for the HEAD of a scanner or the prefetch of a browser. */
  mayActOnOpening: boolean;
  request: AuthRequest;
}

/** Decides whether a request may perform the action of a link in a mail (docs/decisions/0024). */
@Injectable()
export class LinkVisitors {
  constructor(
    private readonly config: Config,
    private readonly sessions: SessionsService,
    private readonly users: UsersService,
    private readonly accounts: AccountsService,
    private readonly passwords: Passwords,
    private readonly attempts: PasswordAttempts,
  ) {}

  async read(request: AuthRequest): Promise<LinkVisitor> {
    const isPrefetch = /prefetch|prerender|preview/i.test(String(request.headers['sec-purpose'] ?? request.headers['purpose'] ?? ''));
    return {
      session: await this.sessionOf(request),
      mayActOnOpening: request.method === 'GET' && !isPrefetch,
      request,
    };
  }

  isRequester({ session }: LinkVisitor, { sessionId, userId }: LinkOwner): boolean {
    return session !== undefined && session.id === sessionId && session.userId === userId;
  }

  /** @throws {LinkProofRequired} without the requesting session and without a password */
  async authorize(visitor: LinkVisitor, link: LinkOwner, password: string | undefined): Promise<void> {
    const user = await this.users.find(link.userId);
    if (user === undefined) throw new InvalidToken();
    if (!this.isRequester(visitor, link)) await this.requirePassword(user, password, visitor.request);
    if (user.suspendedAt !== null || user.banned) throw new UserSuspended();
  }

  private async requirePassword({ id, email }: User, password: string | undefined, request: AuthRequest): Promise<void> {
    if (password === undefined || password === '') throw new LinkProofRequired();
    const hash = (await this.accounts.list(id)).find(({ provider }) => provider === 'credential')?.passwordHash;
    await this.attempts.run({ email: email ?? id }, request, async () => {
      // Hashes also for an account without a password, so that the time reveals nothing.
      const matches = hash == null ? (await this.passwords.hash(password)) === '' : await this.passwords.verify(hash, password);
      if (!matches) throw new WrongPassword({ detail: 'The password of the account is wrong.' });
    });
  }

  private async sessionOf(request: AuthRequest): Promise<LinkVisitor['session']> {
    const credential = this.credentialOf(request);
    if (credential?.kind !== 'session' || (credential.fromCookie && !this.isOwnPage(request))) return undefined;
    const token = readSignedToken(credential.token, this.config.authSecret);
    return token === undefined ? undefined : this.sessions.findByToken(hashSessionToken(token));
  }

  /** Ignores a malformed header instead of refusing it: the routes are public, and it may be meant for a proxy. */
  private credentialOf(request: AuthRequest): Credential {
    try {
      return readCredential(request, sessionCookieNames(this.config.publicUrl));
    } catch (error) {
      if (error instanceof InvalidCredentials || error instanceof AmbiguousCredentials) return undefined;
      throw error;
    }
  }

  /** Our page sends no referrer, so browsers send `Origin: null`. No page can forge `Sec-Fetch-Site`. */
  private isOwnPage({ method, headers: { origin, 'sec-fetch-site': site } }: AuthRequest): boolean {
    if (method === 'GET' || method === 'HEAD') return true;
    if (origin !== undefined && origin !== 'null') return isTrustedOrigin(this.config.trustedOrigins, origin);
    return site === 'same-origin';
  }
}

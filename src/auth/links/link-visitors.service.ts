import { Injectable } from '@nestjs/common';
import type { Request } from 'express';
import { AmbiguousCredentials, InvalidCredentials, UserSuspended } from '../../access/access.errors.js';
import { type Credential, readCredential } from '../../access/credentials/credentials.js';
import { type Actor, originOf } from '../../access/principal.js';
import { sessionCookieNames } from '../../access/credentials/session-cookies.js';
import { hashSessionToken, readSignedToken } from '../../access/credentials/session-tokens.js';
import { AccountsService } from '../../accounts/accounts.service.js';
import { Config } from '../../platform/config/config.js';
import { isTrustedOrigin } from '../../platform/config/trusted-origins.js';
import { SessionsService } from '../../sessions/sessions.service.js';
import { UsersService } from '../../users/users.service.js';
import type { User } from '../../users/users.table.js';
import { InvalidToken, LinkProofRequired, WrongPassword } from '../auth.errors.js';
import type { LinkOwner } from './mail-link.js';
import { PasswordAttempts } from '../passwords/password-attempts.service.js';
import { Passwords } from '../passwords/passwords.service.js';

/** The request that follows a link in a mail, or submits its page. */
export interface LinkVisitor {
  session?: { id: string; userId: string };
  /** Whether following the link may act: a GET of a person, not the HEAD of a scanner or the prefetch of a browser. */
  mayActOnOpening: boolean;
  origin: Pick<Actor, 'requestId' | 'ipAddress'>;
  request: Request;
}

/** Decides whether a request may do what the link in a mail stands for (docs/decisions/0024). */
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

  async read(request: Request): Promise<LinkVisitor> {
    const isPrefetch = /prefetch|prerender|preview/i.test(String(request.headers['sec-purpose'] ?? request.headers['purpose'] ?? ''));
    return {
      session: await this.sessionOf(request),
      mayActOnOpening: request.method === 'GET' && !isPrefetch,
      origin: originOf(request),
      request,
    };
  }

  hasAsked({ session }: LinkVisitor, { sessionId, userId }: LinkOwner): boolean {
    return session !== undefined && session.id === sessionId && session.userId === userId;
  }

  /**
   * @throws {LinkProofRequired} without the session that asked and without a password
   * @throws {WrongPassword}
   * @throws {RateLimited} for too many guesses
   * @throws {UserSuspended}
   */
  async authorize(visitor: LinkVisitor, link: LinkOwner, password: string | undefined): Promise<void> {
    const user = await this.users.find(link.userId);
    if (user === undefined) throw new InvalidToken();
    if (!this.hasAsked(visitor, link)) await this.requirePassword(user, password, visitor.request);
    if (user.suspendedAt !== null || user.banned) throw new UserSuspended();
  }

  private async requirePassword({ id, email }: User, password: string | undefined, request: Request): Promise<void> {
    if (password === undefined || password === '') throw new LinkProofRequired();
    const hash = (await this.accounts.list(id)).find(({ provider }) => provider === 'credential')?.passwordHash;
    await this.attempts.run({ email: email ?? id }, request, async () => {
      // As much work for somebody without a password as for somebody with one.
      const matches = hash == null ? (await this.passwords.hash(password)) === '' : await this.passwords.verify(hash, password);
      if (!matches) throw new WrongPassword({ detail: 'The password of the account is wrong.' });
    });
  }

  private async sessionOf(request: Request): Promise<LinkVisitor['session']> {
    const credential = this.credentialOf(request);
    if (credential?.kind !== 'session' || (credential.fromCookie && !this.isOwnPage(request))) return undefined;
    const token = readSignedToken(credential.token, this.config.authSecret);
    return token === undefined ? undefined : this.sessions.findByToken(hashSessionToken(token));
  }

  /** The routes are public: a header that is meant for somebody else, say a proxy, is no reason to refuse. */
  private credentialOf(request: Request): Credential {
    try {
      return readCredential(request, sessionCookieNames(this.config.publicUrl));
    } catch (error) {
      if (error instanceof InvalidCredentials || error instanceof AmbiguousCredentials) return undefined;
      throw error;
    }
  }

  /** Our page sends no referrer, for which browsers write `Origin: null`; `Sec-Fetch-Site` no page can forge. */
  private isOwnPage({ method, headers: { origin, 'sec-fetch-site': site } }: Request): boolean {
    if (method === 'GET' || method === 'HEAD') return true;
    if (origin !== undefined && origin !== 'null') return isTrustedOrigin(this.config.trustedOrigins, origin);
    return site === 'same-origin';
  }
}

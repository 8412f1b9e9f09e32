import { Injectable } from '@nestjs/common';
import { parseCookie, parseSetCookie, stringifyCookie } from 'cookie';
import { cookiePrefixes, type CookiePrefixes, expiredCookieLine } from '../../access/credentials/session-cookies.js';
import { hashSessionToken, readSignedToken } from '../../access/credentials/session-tokens.js';
import { Config } from '../../platform/config/config.js';
import { SessionsService } from '../../sessions/sessions.service.js';

/** Cookies that outlive a request. The OAuth state is never read under its legacy name. */
const NAMES = ['session_token', 'dont_remember'];

/** Better Auth knows one name per cookie. This class translates the names that versions before 0.2 set over https. */
@Injectable()
export class LegacyCookies {
  private readonly prefixes: CookiePrefixes;

  constructor(
    private readonly config: Config,
    private readonly sessions: SessionsService,
  ) {
    this.prefixes = cookiePrefixes(config.publicUrl);
  }

  /** Adds the current names to a `Cookie` header. A current session wins, and a planted cookie is not translated. */
  async withCurrentNames(header: string): Promise<string> {
    const { current, legacy } = this.prefixes;
    const cookies = parseCookie(header);
    if (legacy === undefined || cookies[`${current}.session_token`] !== undefined) return header;
    const token = readSignedToken(cookies[`${legacy}.session_token`] ?? '', this.config.authSecret);
    if (token === undefined || !(await this.sessions.hasLegacyCookie(hashSessionToken(token)))) return header;
    const renamed = NAMES.map((name) => [`${current}.${name}`, cookies[`${legacy}.${name}`]]);
    return `${header}; ${stringifyCookie(Object.fromEntries(renamed))}`;
  }

  /** Returns `Set-Cookie` lines that remove the legacy cookies that a response replaces or ends. */
  expiredBy(setCookies: string[], requestCookies = ''): string[] {
    const { current, legacy } = this.prefixes;
    if (legacy === undefined) return [];
    const sent = parseCookie(requestCookies);
    const set = new Map(setCookies.map((line) => parseSetCookie(line)).map((cookie) => [cookie.name, cookie]));
    return NAMES.filter((name) => {
      const cookie = set.get(`${current}.${name}`);
      return cookie !== undefined && (cookie.maxAge === 0 || sent[`${legacy}.${name}`] !== undefined);
    }).map((name) => expiredCookieLine(`${legacy}.${name}`));
  }
}

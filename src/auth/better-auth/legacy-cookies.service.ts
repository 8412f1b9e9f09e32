import { Injectable } from '@nestjs/common';
import { readCookie } from '../../access/credentials/credentials.js';
import {
  cookiePrefixes,
  type CookiePrefixes,
  expiredCookie,
  hashSessionToken,
  readSignedToken,
} from '../../access/credentials/session-tokens.js';
import { Config } from '../../platform/config/config.js';
import { SessionsService } from '../../sessions/sessions.service.js';

/** Those that outlive a request. The state of a sign-in at a provider is not read under its legacy name. */
const NAMES = ['session_token', 'dont_remember'];

/** Better Auth knows one name for each cookie. This translates the names that versions before 0.2 set over https. */
@Injectable()
export class LegacyCookies {
  private readonly prefixes: CookiePrefixes;

  constructor(
    private readonly config: Config,
    private readonly sessions: SessionsService,
  ) {
    this.prefixes = cookiePrefixes(config.publicUrl);
  }

  /** The `Cookie` header for Better Auth. A session of its own cookie wins, and a planted one is not translated. */
  async withCurrentNames(header: string): Promise<string> {
    const { current, legacy } = this.prefixes;
    if (legacy === undefined || readCookie(header, `${current}.session_token`) !== undefined) return header;
    const token = readSignedToken(readCookie(header, `${legacy}.session_token`) ?? '', this.config.authSecret);
    if (token === undefined || !(await this.sessions.hasLegacyCookie(hashSessionToken(token)))) return header;
    const rename = (pair: string) => {
      const name = NAMES.find((one) => pair.startsWith(`${legacy}.${one}=`));
      return name === undefined ? pair : pair.replace(legacy, current);
    };
    return header
      .split(';')
      .map((pair) => rename(pair.trim()))
      .join('; ');
  }

  /** Removes legacy cookies that this answer replaces or ends. @returns `Set-Cookie` lines */
  expiredBy(setCookies: string[], requestCookies = ''): string[] {
    const { current, legacy } = this.prefixes;
    if (legacy === undefined) return [];
    return NAMES.filter((name) => {
      const line = setCookies.find((one) => one.startsWith(`${current}.${name}=`));
      if (line === undefined) return false;
      return /; Max-Age=0(;|$)/i.test(line) || readCookie(requestCookies, `${legacy}.${name}`) !== undefined;
    }).map((name) => expiredCookie(`${legacy}.${name}`));
  }
}

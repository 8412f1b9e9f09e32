import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { Request, Response } from 'express';
import { readCookie, setCookieLine } from '../../access/credentials/session-cookies.js';
import { addressBlockOf, clientAddressOf } from '../../platform/http/network-addresses.js';
import { Config } from '../../platform/config/config.js';
import { AuthRepository } from '../auth.repository.js';

const LIFETIME_SECONDS = 180 * 86_400;

/** How a request is known to belong to the owner of an account: by its device, or by where they are signed in. */
export type Familiarity = { deviceId: string } | { addressBlock: string };

/**
 * Recognizes devices on which somebody gave the password of an account. A cookie proves that, and lets nobody in.
 * It is bound to the hash of the password, so a change of the password ends it.
 */
@Injectable()
export class KnownDevices {
  private readonly key: Buffer;
  private readonly cookieName: string;
  private readonly isSecure: boolean;

  constructor(
    private readonly repository: AuthRepository,
    config: Config,
  ) {
    this.key = createHmac('sha256', config.authSecret).update('known devices').digest();
    this.isSecure = config.publicUrl.startsWith('https:');
    this.cookieName = `${this.isSecure ? '__Host-' : ''}tenantry.device`;
  }

  /** Returns undefined for a stranger, and for an email that nobody has. */
  async recognize(email: string, request: Request): Promise<Familiarity | undefined> {
    const { passwordHash, addresses } = await this.repository.findSignInHistory(email);
    const deviceId = this.deviceIn(request, passwordHash);
    if (deviceId !== undefined) return { deviceId };
    const address = clientAddressOf(request);
    const addressBlock = addressBlockOf(address);
    const isKnown = address !== undefined && addresses.some((known) => addressBlockOf(known) === addressBlock);
    return isKnown ? { addressBlock } : undefined;
  }

  /** Remembers the device of somebody who just gave, or set, the password of an account. */
  remember(passwordHash: string, request: Request, response: Response): void {
    if (this.deviceIn(request, passwordHash) !== undefined) return;
    const id = randomBytes(16).toString('base64url');
    const value = `${id}.${this.seal(id, passwordHash)}`;
    response.append('set-cookie', setCookieLine(this.cookieName, value, { maxAge: LIFETIME_SECONDS, secure: this.isSecure }));
  }

  /** Removes our cookie: Better Auth demands an Origin for a sign-in with any cookie. */
  withoutCookie(header: string): string {
    return header
      .split(/; */)
      .filter((pair) => !pair.startsWith(`${this.cookieName}=`))
      .join('; ');
  }

  private deviceIn(request: Request, passwordHash: string | null): string | undefined {
    const [id = '', seal = ''] = readCookie(request.headers.cookie, this.cookieName)?.split('.') ?? [];
    if (!/^[\w-]{22}$/.test(id)) return undefined;
    const [given, wanted] = [Buffer.from(seal), Buffer.from(this.seal(id, passwordHash ?? ''))];
    return passwordHash !== null && given.length === wanted.length && timingSafeEqual(given, wanted) ? id : undefined;
  }

  private seal(id: string, passwordHash: string): string {
    return createHmac('sha256', this.key).update(`${id}.${passwordHash}`).digest('base64url');
  }
}

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { readCookie, setCookieLine } from '../../access/credentials/session-cookies.js';
import { addressBlockOf } from '../../platform/http/network-addresses.js';
import { Config } from '../../platform/config/config.js';
import { AuthRepository } from '../auth.repository.js';
import type { AuthRequest } from '../better-auth/auth-request.js';

const LIFETIME_SECONDS = 180 * 86_400;

type Sender = Pick<AuthRequest, 'headers' | 'origin'>;

/** Why a request is trusted to come from the owner of an account: its device, or the network of an open session. */
export type KnownSource = { deviceId: string } | { addressBlock: string };

/**
 * Recognises the devices on which the password of an account was once given, by a cookie. The cookie signs nobody in.
 * It is bound to the password hash, so a new password invalidates it.
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

  /** Returns undefined for an unknown sender, and for an email without an account. */
  async recognize(email: string, sender: Sender): Promise<KnownSource | undefined> {
    const { passwordHash, addresses } = await this.repository.findSignInHistory(email);
    const deviceId = this.deviceIn(sender, passwordHash);
    if (deviceId !== undefined) return { deviceId };
    const { ipAddress } = sender.origin;
    if (ipAddress === null) return undefined;
    const addressBlock = addressBlockOf(ipAddress);
    const isKnown = addresses.some((known) => addressBlockOf(known) === addressBlock);
    return isKnown ? { addressBlock } : undefined;
  }

  /** Returns the `Set-Cookie` line for a device on which the password was just given or set. */
  remember(passwordHash: string, sender: Sender): string[] {
    if (this.deviceIn(sender, passwordHash) !== undefined) return [];
    const id = randomBytes(16).toString('base64url');
    const value = `${id}.${this.seal(id, passwordHash)}`;
    return [setCookieLine(this.cookieName, value, { maxAge: LIFETIME_SECONDS, secure: this.isSecure })];
  }

  /** Removes our cookie, because Better Auth requires an Origin for a sign-in with any cookie. */
  withoutCookie(header: string): string {
    return header
      .split(/; */)
      .filter((pair) => !pair.startsWith(`${this.cookieName}=`))
      .join('; ');
  }

  private deviceIn({ headers }: Sender, passwordHash: string | null): string | undefined {
    const [id = '', seal = ''] = readCookie(headers.cookie, this.cookieName)?.split('.') ?? [];
    if (!/^[\w-]{22}$/.test(id)) return undefined;
    const [actual, expected] = [Buffer.from(seal), Buffer.from(this.seal(id, passwordHash ?? ''))];
    return passwordHash !== null && actual.length === expected.length && timingSafeEqual(actual, expected) ? id : undefined;
  }

  private seal(id: string, passwordHash: string): string {
    return createHmac('sha256', this.key).update(`${id}.${passwordHash}`).digest('base64url');
  }
}

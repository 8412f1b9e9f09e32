import { Injectable } from '@nestjs/common';
import { createRemoteJWKSet, errors, importSPKI, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import { ServiceUnavailable } from '../../platform/problems/problems.errors.js';
import { Config } from '../../platform/config/config.js';
import type { ClerkConfig } from '../../platform/config/derived-settings.js';
import { isTrustedOrigin } from '../../platform/config/trusted-origins.js';
import { InvalidCredentials } from '../access.errors.js';
import { SystemClock } from '../../platform/time/clock.service.js';

const CLOCK_TOLERANCE_SECONDS = 5;

export interface ClerkIdentity {
  clerkUserId: string;
  clerkSessionId: string;
}

/**
 * Verifies Clerk session tokens (https://clerk.com/docs/guides/sessions/session-tokens) offline. Uses jose, because
 * Clerk's own `verifyToken` does not check the issuer.
 */
@Injectable()
export class ClerkTokens {
  private readonly clerk?: ClerkConfig;
  private readonly key?: JWTVerifyGetKey;

  constructor(
    config: Config,
    private readonly clock: SystemClock,
  ) {
    this.clerk = config.clerk;
    if (this.clerk === undefined) return;
    const { jwtKey, jwksUrl } = this.clerk;
    if (jwtKey === undefined) {
      this.key = createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 3000, cooldownDuration: 30_000, cacheMaxAge: 600_000 });
    } else {
      const imported = importSPKI(jwtKey, 'RS256');
      // A wrong key fails at each verification, which awaits it.
      imported.catch(() => undefined);
      this.key = () => imported;
    }
  }

  /**
   * @throws {InvalidCredentials} unless the token is a valid session token of our Clerk instance
   * @throws {ServiceUnavailable} when the key set cannot be fetched
   */
  async verify(token: string): Promise<ClerkIdentity> {
    if (this.clerk === undefined || this.key === undefined) throw new InvalidCredentials();
    const { payload } = await jwtVerify(token, this.key, {
      issuer: this.clerk.issuer,
      algorithms: ['RS256'],
      requiredClaims: ['exp', 'iat', 'sub', 'sid'],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: this.clock.now(),
    }).catch(refuse);
    // jose checks `iat` only together with a maximum age.
    if (typeof payload.iat !== 'number' || payload.iat > this.clock.now().getTime() / 1000 + CLOCK_TOLERANCE_SECONDS)
      throw new InvalidCredentials();
    return this.identityOf(payload);
  }

  private identityOf({ sub, sid, azp, sts }: JWTPayload & { sid?: unknown; azp?: unknown; sts?: unknown }): ClerkIdentity {
    // Clerk omits `azp` when there is no Origin (native apps). When present, it must be one of ours.
    const partyIsOurs = azp === undefined || (typeof azp === 'string' && isTrustedOrigin(this.clerk!.authorizedParties, azp));
    // A pending session still has a task to finish at Clerk (choose an organization, a second factor): not signed in.
    if (!partyIsOurs || sts === 'pending' || !isClerkId(sub) || !isClerkId(sid)) throw new InvalidCredentials();
    return { clerkUserId: sub, clerkSessionId: sid };
  }
}

/** The ids are stored in the database, which accepts no NUL and no lone surrogate. */
function isClerkId(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]{1,255}$/.test(value);
}

function refuse(error: unknown): never {
  // jose's own errors concern the token, except the ones about fetching keys: a timeout, an invalid key set, any other response (generic).
  const isFetchError = error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid;
  const keysAreUnavailable = !(error instanceof errors.JOSEError) || isFetchError || error.code === 'ERR_JOSE_GENERIC';
  if (keysAreUnavailable)
    throw new ServiceUnavailable({
      detail: 'The signing keys of the identity provider are unavailable. Try again shortly.',
      headers: { 'retry-after': '5' },
    });
  throw new InvalidCredentials();
}

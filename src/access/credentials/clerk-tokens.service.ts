import { Injectable } from '@nestjs/common';
import { createRemoteJWKSet, errors, importSPKI, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import { ServiceUnavailable } from '../../platform/problems/problems.errors.js';
import { Config } from '../../platform/config/config.js';
import type { ClerkConfig } from '../../platform/config/derived-settings.js';
import { isTrustedOrigin } from '../../platform/config/trusted-origins.js';
import { InvalidCredentials } from '../access.errors.js';

const CLOCK_TOLERANCE_SECONDS = 5;

/** Who a Clerk session token speaks for. */
export interface ClerkIdentity {
  clerkUserId: string;
  clerkSessionId: string;
}

/**
 * Checks Clerk session tokens offline: against `CLERK_JWT_KEY`, or against a key set that is fetched once
 * and kept. Clerk's own `verifyToken` does not look at the issuer, hence jose.
 *
 * Claims: https://clerk.com/docs/guides/sessions/session-tokens
 */
@Injectable()
export class ClerkTokens {
  private readonly clerk?: ClerkConfig;
  private readonly key?: JWTVerifyGetKey;

  constructor(config: Config) {
    this.clerk = config.clerk;
    if (this.clerk === undefined) return;
    const { jwtKey, jwksUrl } = this.clerk;
    if (jwtKey === undefined) {
      this.key = createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 3000, cooldownDuration: 30_000, cacheMaxAge: 600_000 });
    } else {
      const imported = importSPKI(jwtKey, 'RS256');
      imported.catch(() => undefined);
      this.key = () => imported;
    }
  }

  /**
   * @throws {InvalidCredentials} for any token that is not a live session token of our instance
   * @throws {ServiceUnavailable} when the key set has to be fetched and cannot be
   */
  async verify(token: string): Promise<ClerkIdentity> {
    if (this.clerk === undefined || this.key === undefined) throw new InvalidCredentials();
    const { payload } = await jwtVerify(token, this.key, {
      issuer: this.clerk.issuer,
      algorithms: ['RS256'],
      requiredClaims: ['exp', 'iat', 'sub', 'sid'],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
    }).catch(refuse);
    // jose checks `iat` only together with a greatest age.
    if (typeof payload.iat !== 'number' || payload.iat > Date.now() / 1000 + CLOCK_TOLERANCE_SECONDS) throw new InvalidCredentials();
    return this.identityOf(payload);
  }

  private identityOf({ sub, sid, azp, sts }: JWTPayload & { sid?: unknown; azp?: unknown; sts?: unknown }): ClerkIdentity {
    // Clerk leaves `azp` out where there is no Origin (native apps); where it stands it must be ours.
    const partyIsOurs = azp === undefined || (typeof azp === 'string' && isTrustedOrigin(this.clerk!.authorizedParties, azp));
    // A pending session still owes Clerk a task (choosing an organization, a second factor): not signed in.
    if (!partyIsOurs || sts === 'pending' || !isClerkId(sub) || !isClerkId(sid)) throw new InvalidCredentials();
    return { clerkUserId: sub, clerkSessionId: sid };
  }
}

/** They go into queries and rows: no NUL, no lone surrogate, nothing endless. */
function isClerkId(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]{1,255}$/.test(value);
}

function refuse(error: unknown): never {
  // jose's own errors are about the token, but for those of fetching: a time-out, an answer that is no key set, any other answer (generic).
  const isAboutKeys = error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid;
  const keysAreAway = !(error instanceof errors.JOSEError) || isAboutKeys || error.code === 'ERR_JOSE_GENERIC';
  if (keysAreAway)
    throw new ServiceUnavailable({
      detail: 'The keys of the identity provider cannot be read right now.',
      headers: { 'retry-after': '5' },
    });
  throw new InvalidCredentials();
}

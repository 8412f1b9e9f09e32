import { createHash } from 'node:crypto';
import { signSessionToken } from '../../src/access/credentials/session-tokens.js';

export const AUTH_SECRET = 'a benchmark secret that is long enough';
export const USERS = 10_000;
export const SESSIONS = 20_000;
/** All users are members of it. */
export const ORGANIZATION_ID = '00000000-0000-7000-b000-000000000001';

/** The token of a seeded session; numbers wrap around. */
export function tokenOf(session: number): string {
  return `bench-session-token-${session % SESSIONS}`;
}

/** The signed token, as the user's client stores it. */
export function bearerOf(session: number): string {
  return signSessionToken(tokenOf(session), AUTH_SECRET);
}

export function userIdOf(user: number): string {
  return `00000000-0000-7000-8000-${String(user % USERS).padStart(12, '0')}`;
}

/** The number of organizations in `usage.bench.ts` with a single member, their admin: the user with the same number. */
export const TENANTS = 1100;

export function tenantOf(user: number): string {
  return `00000000-0000-7000-b100-${String(user % TENANTS).padStart(12, '0')}`;
}

/** Signs the webhooks of the benchmark. */
export const WEBHOOK_KEY = Buffer.alloc(24, 5);

/** As the `token` of a row in `sessions`. */
export function tokenHashOf(session: number): string {
  return createHash('sha256').update(tokenOf(session)).digest('base64url');
}

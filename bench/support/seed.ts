import { signSessionToken } from '../../src/access/credentials/session-tokens.js';

export const AUTH_SECRET = 'a benchmark secret that is long enough';
export const USERS = 10_000;
export const SESSIONS = 20_000;
/** All users are its members. */
export const ORGANIZATION_ID = '00000000-0000-7000-b000-000000000001';

/** The token of one of the seeded sessions; numbers past the last begin again. */
export function tokenOf(session: number): string {
  return `bench-session-token-${session % SESSIONS}`;
}

/** The same as the user's client holds it. */
export function bearerOf(session: number): string {
  return signSessionToken(tokenOf(session), AUTH_SECRET);
}

export function userIdOf(user: number): string {
  return `00000000-0000-7000-8000-${String(user % USERS).padStart(12, '0')}`;
}

/** How many organizations with a single member, and its admin, `usage.bench.ts` makes: the user of the same number. */
export const TENANTS = 1100;

export function tenantOf(user: number): string {
  return `00000000-0000-7000-b100-${String(user % TENANTS).padStart(12, '0')}`;
}

/** Signs the webhooks of a flood. */
export const WEBHOOK_KEY = Buffer.alloc(24, 5);

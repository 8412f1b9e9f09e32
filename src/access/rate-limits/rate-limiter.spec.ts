import fc from 'fast-check';
import type { Request } from 'express';
import { RateLimiter, remaining, secondsUntilNext } from './rate-limiter.service.js';
import { loadConfig } from '../../platform/config/config.js';
import type { AccessRepository, Spender } from '../access.repository.js';

const config = loadConfig({
  DATABASE_URL: 'postgres://localhost/none',
  AUTH_SECRET: 'x'.repeat(32),
  ENCRYPTION_KEYS: `k:${Buffer.alloc(32).toString('base64')}`,
});

/** Whose allowance a call spends, name by name. */
async function spendersOf(limits: Parameters<RateLimiter['spend']>[0], request: { ip?: string; body?: unknown }) {
  const spenders: Record<string, Spender> = {};
  const access: Pick<AccessRepository, 'spend'> = {
    spend: (name, _policy, spender) => {
      spenders[name] = spender;
      return Promise.resolve({ allowed: true, debt: 0 });
    },
  };
  await new RateLimiter(access as AccessRepository, config).spend(limits, request as Partial<Request> as Request, { tokenHash: 'hash' });
  return spenders;
}
const emailKey = async (body: unknown) => (await spendersOf(['mail'], { ip: '192.0.2.1', body }))['mail']!.fallback;

describe('whose allowance a call spends', () => {
  it('is the caller’s for the API, and the address’s when there is none', async () => {
    expect((await spendersOf(['api'], { ip: '192.0.2.1' }))['api']).toEqual({ tokenHash: 'hash', fallback: '192.0.2.1' });
  });

  it('is the block’s of the address, however the address is written', async () => {
    for (const [ip, block] of [
      ['192.0.2.1:4711', '192.0.2.1'],
      ['[2001:db8:1:2::9]:443', '2001:db8:1:2::/64'],
      ['garbage', 'unknown'],
      [undefined, 'unknown'],
    ])
      expect((await spendersOf(['auth'], { ip }))['auth']).toEqual({ fallback: block });
  });

  it('is the address’s at the door, signed in or not', async () => {
    expect((await spendersOf(['auth'], { ip: '192.0.2.1' }))['auth']).toEqual({ fallback: '192.0.2.1' });
  });

  it('is the email’s and the address’s together for mails, however the email is written, and not in the clear', async () => {
    const key = await emailKey({ email: 'ada@example.com' });
    expect(key).toMatch(/^[\w-]{43}:192\.0\.2\.1$/);
    expect(await emailKey({ email: ' ADA@Example.com ' })).toBe(key);
    expect(await emailKey({ newEmail: 'ada@example.com' })).toBe(key);
    expect(await emailKey({ email: 'bob@example.com' })).not.toBe(key);
  });

  it('is one shared allowance for bodies without an email', async () => {
    const key = await emailKey(undefined);
    for (const body of [null, 7, 'text', [], {}, { email: null }, { email: {} }, { email: ['ada@example.com'] }])
      expect(await emailKey(body)).toBe(key);
  });
});

describe('what a caller is told', () => {
  const policy = fc.record({ limit: fc.integer({ min: 1, max: 1e6 }), windowSeconds: fc.integer({ min: 1, max: 1e5 }) });
  const spentOnce = ({ limit, windowSeconds }: { limit: number; windowSeconds: number }) => Math.floor((windowSeconds * 1e6) / limit) / 1e6;

  it('is exactly what is left, however many calls were made at one moment', () => {
    fc.assert(
      fc.property(policy, fc.double({ min: 0, max: 1, noNaN: true }), (given, share) => {
        fc.pre(spentOnce(given) > 1e-4);
        const calls = Math.max(1, Math.round(share * given.limit));
        const allowance = { allowed: true, debt: calls * spentOnce(given) };
        // Rounding an interval down to the microsecond may show one more of very many, never one less.
        const left = remaining({ name: 'api', policy: given, allowance });
        expect(left).toBeGreaterThanOrEqual(given.limit - calls);
        expect(left).toBeLessThanOrEqual(given.limit - calls + Math.ceil(given.limit / 100));
      }),
    );
  });

  it('is nothing left, and a wait after which there is one, when a call was refused', () => {
    fc.assert(
      fc.property(policy, fc.double({ min: 0, max: 1, noNaN: true }), (given, share) => {
        const interval = given.windowSeconds / given.limit;
        const debt = given.windowSeconds - share * interval;
        const refused = { name: 'api', policy: given, allowance: { allowed: false, debt } };
        expect(remaining(refused)).toBe(0);
        const wait = secondsUntilNext(refused);
        expect(wait).toBeGreaterThanOrEqual(1);
        expect(debt - wait + interval).toBeLessThanOrEqual(given.windowSeconds + 1e-6);
        expect(wait).toBeLessThanOrEqual(Math.max(1, Math.ceil(interval + 1e-6)));
      }),
    );
  });
});

import type { Request } from 'express';
import type { AccessRepository, Spender } from './access.repository.js';
import { RateLimiter } from './rate-limiter.js';
import { loadConfig } from '../config/config.js';

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
const addressKey = async (ip: string | undefined) => (await spendersOf(['auth'], { ip }))['auth']!.fallback;
const emailKey = async (body: unknown) => (await spendersOf(['mail'], { ip: '192.0.2.1', body }))['mail']!.fallback;

describe('whose allowance a call spends', () => {
  it('is the caller’s for the API, and the address’s when there is none', async () => {
    expect((await spendersOf(['api'], { ip: '192.0.2.1' }))['api']).toEqual({ tokenHash: 'hash', fallback: '192.0.2.1' });
  });

  it('is the address’s at the door, signed in or not', async () => {
    expect((await spendersOf(['auth'], { ip: '192.0.2.1' }))['auth']).toEqual({ fallback: '192.0.2.1' });
  });

  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002:ffff::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    [undefined, 'unknown'],
  ])('counts %s as %s', async (ip, key) => {
    expect(await addressKey(ip)).toBe(key);
  });

  it('is the email’s for sign-in and mails, however it is written, and not in the clear', async () => {
    const key = await emailKey({ email: 'ada@example.com' });
    expect(key).toMatch(/^[\w-]{43}$/);
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

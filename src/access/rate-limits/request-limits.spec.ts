import type { Request } from 'express';
import type { Limit } from '../access.decorators.js';
import type { RateLimiter } from './rate-limiter.service.js';
import { countRequest } from './request-limits.js';

/** The subject that each limit of a request is counted for. */
async function subjectsOf(limits: readonly Limit[], request: { ip?: string; body?: unknown }, caller?: string) {
  const subjects: Partial<Record<Limit, string>> = {};
  const limiter: Pick<RateLimiter, 'consumeCall'> = {
    consumeCall: (name, subject) => {
      subjects[name] = subject;
      return { name, policy: { limit: 1, windowSeconds: 1 }, allowed: true, secondsUntilFull: 0 };
    },
  };
  await countRequest(limiter, limits, request as Partial<Request> as Request, caller);
  return subjects;
}
const keyOfMail = async (body: unknown) => (await subjectsOf(['mail'], { ip: '192.0.2.1', body })).mail!;

describe('the subject of a limit', () => {
  it('is the caller for the API, or the address of a request without a caller', async () => {
    expect(await subjectsOf(['api', 'usage'], { ip: '192.0.2.1' }, 'ada')).toEqual({ api: 'ada', usage: 'ada' });
    expect((await subjectsOf(['api'], { ip: '192.0.2.1' })).api).toBe('192.0.2.1');
  });

  it('is the network block of the address, for any spelling of the address', async () => {
    for (const [ip, block] of [
      ['192.0.2.1:4711', '192.0.2.1'],
      ['[2001:db8:1:2::9]:443', '2001:db8:1:2::/64'],
      ['garbage', 'unknown'],
      [undefined, 'unknown'],
    ])
      expect((await subjectsOf(['auth'], { ip }))['auth']).toBe(block);
  });

  it('is the address on the sign-in routes, signed in or not', async () => {
    expect((await subjectsOf(['auth'], { ip: '192.0.2.1' }, 'ada')).auth).toBe('192.0.2.1');
  });

  it('is the hashed email and the address for mails, for any spelling of the email', async () => {
    const key = await keyOfMail({ email: 'ada@example.com' });
    expect(key).toMatch(/^[\w-]{43}:192\.0\.2\.1$/);
    expect(await keyOfMail({ email: ' ADA@Example.com ' })).toBe(key);
    expect(await keyOfMail({ newEmail: 'ada@example.com' })).toBe(key);
    expect(await keyOfMail({ email: 'bob@example.com' })).not.toBe(key);
  });

  it('is shared by all bodies without an email', async () => {
    const key = await keyOfMail(undefined);
    for (const body of [null, 7, 'text', [], {}, { email: null }, { email: {} }, { email: ['ada@example.com'] }])
      expect(await keyOfMail(body)).toBe(key);
  });
});

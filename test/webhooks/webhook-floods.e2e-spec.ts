import { startTestApp, type TestApp } from '../support/app.js';
import { clerkEvent, CLERK_WEBHOOK_SECRET, newMessageId, sign, userData } from '../support/clerk/clerk-events.js';
import { openConnection, type RawConnection, slowBody } from '../support/raw-http.js';
import { until } from '../support/until.js';

const FORGED_SECRET = `whsec_${Buffer.from('a secret that somebody guessed').toString('base64')}`;
const UNKNOWN_ADDRESS = '203.0.113.7';
const PROVIDER = '198.51.100.9';

describe('a flood of unsigned deliveries', () => {
  let t: TestApp;
  let connections: RawConnection[];
  beforeEach(async () => {
    connections = [];
    t = await startTestApp({ CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET, TRUST_PROXY: '1' });
  });
  afterEach(async () => {
    for (const { socket } of connections) socket.destroy();
    await t.close();
  });

  let users = 0;
  const deliver = async (from: string, secret = CLERK_WEBHOOK_SECRET, path = '/webhooks/clerk') => {
    const body = JSON.stringify(clerkEvent('user.created', userData({ id: `user_flood_${(users += 1)}` })));
    const signed = sign(body, { id: newMessageId(), timestamp: Math.floor(Date.now() / 1000), secret });
    return fetch(`${t.url}${path}`, {
      method: 'POST',
      headers: { ...signed, 'content-type': 'application/json', 'x-forwarded-for': from },
      body,
    });
  };
  const statusesOf = async (count: number, one: () => Promise<Response>) => {
    const statuses: number[] = [];
    for (let call = 0; call < count; call += 1) statuses.push((await one()).status);
    return [...new Set(statuses)];
  };
  const flood = async (from: string) => {
    expect(await statusesOf(20, () => deliver(from, FORGED_SECRET))).toEqual([401]);
    // A failure is counted after the response is sent.
    await until(async () => (await deliver(from, FORGED_SECRET)).status === 429);
  };

  it('is rejected before the bodies are read, with the time of the next attempt', async () => {
    await flood(UNKNOWN_ADDRESS);
    // One request in five seconds is read.
    const answer = await until(async () => {
      const one = await deliver(UNKNOWN_ADDRESS, FORGED_SECRET);
      return one.status === 429 ? one : undefined;
    });
    expect(await answer.json()).toMatchObject({ status: 429, code: 'rate_limited' });
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(50);
    expect(answer.headers.get('ratelimit-policy')).toBe('"webhook-failures";q=20;w=60');
    // Send one byte of a body. If this request is the one in five seconds, the next one is rejected unread.
    await until(async () => {
      const unread = openConnection(
        t.url,
        slowBody({ 'x-forwarded-for': UNKNOWN_ADDRESS }, { path: '/webhooks/clerk', length: 1024 * 1024 }),
      );
      connections.push(unread);
      await Promise.race([unread.closed, new Promise((resolve) => setTimeout(resolve, 1000))]);
      return unread.statuses()[0] === 429;
    });
  });

  it('is counted by address, also at unknown endpoints, and does not affect other routes', async () => {
    expect(await statusesOf(20, () => deliver(UNKNOWN_ADDRESS, FORGED_SECRET, '/webhooks/nobody'))).toEqual([404]);
    await until(async () => (await deliver(UNKNOWN_ADDRESS)).status === 429);
    expect((await deliver(PROVIDER)).status).toBe(202);
    expect((await fetch(`${t.url}/v1/plans`, { headers: { 'x-forwarded-for': UNKNOWN_ADDRESS } })).status).toBe(200);
  });

  it('does not block the address of a provider, through which an attacker may send requests', async () => {
    expect((await deliver(PROVIDER)).status).toBe(202);
    const flooding = await Promise.all(
      Array.from({ length: 100 }, (_, index) => deliver(PROVIDER, index % 10 === 0 ? undefined : FORGED_SECRET)),
    );
    expect([...new Set(flooding.map(({ status }) => status))].toSorted()).toEqual([202, 401]);
    expect(await statusesOf(30, () => deliver(PROVIDER, FORGED_SECRET))).toEqual([401]);
    expect((await deliver(PROVIDER)).status).toBe(202);
  });

  it('does not include a provider that sends many messages from its first one', async () => {
    const sent = await Promise.all(Array.from({ length: 300 }, () => deliver(PROVIDER)));
    expect([...new Set(sent.map(({ status }) => status))]).toEqual([202]);
  });
});

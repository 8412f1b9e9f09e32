import { startTestApp, type TestApp } from '../support/app.js';
import { createTestDatabase } from '../support/database.js';
import { PASSWORD } from '../support/people.js';
import { endProcesses, ready, startServer } from '../support/processes.js';
import { until } from '../support/until.js';

/** Addresses in the spellings that proxies and dual-stack sockets write. */
const SPELLINGS: [string, string[]][] = [
  ['203.0.113.1', ['203.0.113.1', '203.0.113.1:50001', '203.0.113.1:50002', '::ffff:203.0.113.1', '[::ffff:cb00:7101]:443']],
  ['203.0.113.2', ['64:ff9b::203.0.113.2', '64:ff9b::cb00:7102', '[64:ff9b::cb00:7102]:8080', '203.0.113.2']],
  ['2001:db8:1:2::1', ['[2001:db8:1:2::1]:50001', '[2001:db8:1:2::1]:50002', '[2001:0DB8:1:2::1]', '2001:db8:1:2:0:0:0:1']],
];

describe('the address of a client', () => {
  describe.each([
    ['their number', '2'],
    ['their subnets', '127.0.0.0/8, 10.9.0.0/16'],
  ])('behind proxies that are trusted by %s', (_, trusted) => {
    let t: TestApp;
    beforeAll(async () => {
      t = await startTestApp({ TRUST_PROXY: trusted, RATE_LIMIT_API: '2/3600' });
    });
    afterAll(() => t.close());

    /** A header as from a load balancer at 10.9.0.1 that appends its port, with an entry from the client. */
    const forwarded = (address: string) => `198.51.100.99, ${address}, 10.9.0.1:4711`;
    const signUpFrom = async (address: string) => {
      const email = `from-${Math.random()}@example.com`;
      const { body } = await t.http
        .post('/v1/auth/sign-up/email')
        .set('x-forwarded-for', forwarded(address))
        .send({ email, name: 'From', password: PASSWORD })
        .expect(200);
      return body.user.id as string;
    };

    it.each(SPELLINGS)('has one rate limit in every spelling: %s', async (_address, spellings) => {
      const statuses: number[] = [];
      for (const spelling of spellings)
        statuses.push((await t.http.get('/v1/users/me').set('x-forwarded-for', forwarded(spelling))).status);
      expect(statuses).toEqual([401, 401, ...spellings.slice(2).map(() => 429)]);
    });

    it.each(SPELLINGS)('is the same in sessions and the audit log in every spelling: %s', async (address, spellings) => {
      for (const spelling of spellings) {
        const userId = await signUpFrom(spelling);
        const [session] = await t.db.rows('SELECT ip_address FROM sessions WHERE user_id = $1', [userId]);
        const [entry] = await t.db.rows('SELECT ip_address FROM audit_log WHERE target_id = $1', [userId]);
        expect([spelling, session!['ip_address'], entry!['ip_address']]).toEqual([spelling, address, address]);
      }
    });

    it.each(['unknown', '_hidden', '203.0.113.7:port', `2001:db8::1%${'z'.repeat(500)}`])(
      'is empty when a proxy writes %s',
      async (text) => {
        const userId = await signUpFrom(text);
        const [session] = await t.db.rows('SELECT ip_address FROM sessions WHERE user_id = $1', [userId]);
        const [entry] = await t.db.rows('SELECT ip_address FROM audit_log WHERE target_id = $1', [userId]);
        expect([session!['ip_address'], entry!['ip_address']]).toEqual([null, null]);
      },
    );
  });

  it('is not read from the header when the connection does not come from a trusted proxy', async () => {
    const t = await startTestApp({ TRUST_PROXY: '10.9.0.0/16' });
    try {
      const { body } = await t.http
        .post('/v1/auth/sign-up/email')
        .set('x-forwarded-for', '203.0.113.1')
        .send({ email: 'direct@example.com', name: 'Direct', password: PASSWORD })
        .expect(200);
      const rows = await t.db.rows('SELECT ip_address FROM sessions WHERE user_id = $1', [body.user.id]);
      expect(rows).toEqual([{ ip_address: '127.0.0.1' }]);
    } finally {
      await t.close();
    }
  });

  it('is in the request log', async () => {
    const db = await createTestDatabase();
    const server = await ready(await startServer(db.url, { TRUST_PROXY: '1', LOG_LEVEL: 'info' }));
    try {
      await fetch(`${server.url}/v1/users/me`, { headers: { 'x-forwarded-for': '[2001:0db8::7]:1234' } });
      const lines = () => server.log().filter(({ req }) => (req as { path?: string } | undefined)?.path === '/v1/users/me');
      await until(async () => lines().length > 0);
      expect(lines()).toMatchObject([{ req: { address: '2001:db8::7' } }]);
    } finally {
      await endProcesses();
      await db.drop();
    }
  });
});

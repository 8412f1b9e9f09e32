import { jest } from '@jest/globals';
import { type LeaseRequest, leaseTerms } from '../../src/access/leases/lease-terms.js';
import { LeasesRepository } from '../../src/access/leases/leases.repository.js';
import { PipelinedPool } from '../../src/platform/database/pipeline/pipelined-pool.js';
import { createDatabase, type Database } from '../../src/platform/database/database.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { openSessions } from '../support/sessions.js';
import { SimulatedBuckets } from '../support/simulated-buckets.js';
import { createTenant } from '../support/tenant-world.js';

/** One call, as versions before leases count it: $1 is the key, $2 the interval in microseconds, $3 the window in seconds. */
const ONE_CALL = `
  INSERT INTO rate_limits AS r (key, whole_at) VALUES ($1, clock_timestamp() + $2 * interval '1 microsecond')
  ON CONFLICT (key) DO UPDATE SET whole_at = greatest(r.whole_at, clock_timestamp()) + $2 * interval '1 microsecond'
    WHERE greatest(r.whole_at, clock_timestamp()) + $2 * interval '1 microsecond' <= clock_timestamp() + $3 * interval '1 second'
  RETURNING key`;

const oneRequest = (request: Partial<LeaseRequest>): LeaseRequest => ({ key: 'a', waiting: 0, ahead: 0, unused: 0, mark: 0, ...request });

describe('the statement that grants calls', () => {
  let db: TestDatabase;
  let databases: Database[];
  let repositories: LeasesRepository[];
  beforeAll(async () => {
    db = await createTestDatabase();
    databases = [1, 2, 3].map(() => createDatabase({ databaseUrl: db.url, databasePoolSize: 4 }));
    repositories = databases.map((database) => new LeasesRepository(database));
  });
  beforeEach(() => db.rows('DELETE FROM rate_limits'));
  afterAll(async () => {
    await Promise.all(databases.map((database) => database.$client.end()));
    await db.drop();
  });

  it('grants what the rules say, for new, used, full and spent buckets', async () => {
    for (const policy of [
      { limit: 1000, windowSeconds: 60 },
      { limit: 7, windowSeconds: 60 },
      { limit: 100_000, windowSeconds: 10 },
    ]) {
      const terms = leaseTerms(policy);
      const simulated = new SimulatedBuckets();
      const marks = new Map<string, { mark: number; leased: number }>();
      for (let round = 0; round < 60; round += 1) {
        const keys = ['a', 'b', 'c', 'd'].filter(() => Math.random() < 0.7).map((name) => `${name}:${policy.limit}`);
        const requests = keys.map((key) => {
          const last = Math.random() < 0.4 ? marks.get(key) : undefined;
          return oneRequest({
            key,
            waiting: Math.floor(Math.random() * 3) * Math.ceil(policy.limit / 40),
            ahead: Math.floor(Math.random() * 2) * Math.ceil(policy.limit / 50),
            unused: last?.leased ?? 0,
            mark: last?.mark ?? 0,
          });
        });
        const grants = await repositories[0]!.grant(terms, requests);
        expect(grants.map(({ key }) => key).toSorted()).toEqual(keys.toSorted());
        for (const grant of grants) {
          const request = requests.find(({ key }) => key === grant.key)!;
          const [expected] = simulated.grant(terms, [request], grant.mark - grant.backlog);
          expect(grant).toEqual(expected);
          marks.set(grant.key, grant);
        }
        const rows = await db.rows<{ key: string; whole: number }>(
          'SELECT key, (extract(epoch FROM whole_at) * 1000000)::float8 AS whole FROM rate_limits WHERE key = ANY($1)',
          [keys],
        );
        for (const { key, whole } of rows) expect(whole).toBe(simulated.wholeAt.get(key));
      }
    }
  });

  it('admits exactly the limit when processes and older versions race for new and old buckets, without a deadlock', async () => {
    const terms = leaseTerms({ limit: 300, windowSeconds: 36_000 });
    const keys = Array.from({ length: 25 }, (_, index) => `race:${index}`);
    const taken = new Map(keys.map((key) => [key, 0]));
    const add = (key: string, calls: number) => taken.set(key, taken.get(key)! + calls);
    const process = async (repository: LeasesRepository) => {
      for (let round = 0; round < 60; round += 1) {
        const some = keys.filter(() => Math.random() < 0.6).toSorted(() => Math.random() - 0.5);
        const requests = some.map((key) =>
          oneRequest({ key, waiting: 1 + Math.floor(Math.random() * 6), ahead: Math.floor(Math.random() * 4) }),
        );
        for (const { key, admitted, leased } of await repository.grant({ ...terms, period: 1 }, requests)) add(key, admitted + leased);
      }
    };
    const older = async () => {
      for (let round = 0; round < 300; round += 1) {
        const key = keys[Math.floor(Math.random() * keys.length)]!;
        add(key, (await db.rows(ONE_CALL, [key, terms.interval, 36_000])).length);
      }
    };
    await Promise.all([...repositories, ...repositories].map(process).concat(older(), older()));
    for (const repository of repositories) {
      const rest = await repository.grant(
        terms,
        keys.map((key) => oneRequest({ key, waiting: 300 })),
      );
      for (const { key, admitted } of rest) add(key, admitted);
    }
    expect([...taken.values()]).toEqual(keys.map(() => 300));
  });

  it('takes calls back only while nothing was counted since', async () => {
    const terms = leaseTerms({ limit: 1000, windowSeconds: 60 });
    const [one, two] = repositories as [LeasesRepository, LeasesRepository];
    const [lease] = await one.grant(terms, [oneRequest({ ahead: 20 })]);
    const [returned] = await one.grant(terms, [oneRequest({ unused: 15, mark: lease!.mark })]);
    expect(lease!.mark - returned!.mark).toBe(15 * terms.interval);
    const [again] = await one.grant(terms, [oneRequest({ unused: 15, mark: lease!.mark })]);
    expect(again!.mark).toBe(returned!.mark);
    await two.grant(terms, [oneRequest({ waiting: 1 })]);
    const [late] = await one.grant(terms, [oneRequest({ unused: 5, mark: returned!.mark })]);
    expect(late!.mark).toBe(returned!.mark + terms.interval);
  });
});

describe('leased calls over HTTP', () => {
  let t: TestApp;
  let other: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ RATE_LIMIT_API: '3000/60' });
    other = await startTestApp({ RATE_LIMIT_API: '3000/60' }, t.db);
  });
  afterAll(async () => {
    await other.close();
    await t.close();
  });

  it.each(['a session', 'an API key', 'an address'])('cost at most one statement in ten requests in steady use, for %s', async (kind) => {
    const tenant = await createTenant(t.db);
    const session = (await openSessions(t.db, [tenant.admin.id]))(tenant.admin.id);
    const headers = { 'a session': session, 'an API key': tenant.keys.full.auth, 'an address': {} }[kind]!;
    const call = async () => t.http.get(`/v1/organizations/${tenant.organization.id}`).set(headers);
    let statements = 0;
    const query = PipelinedPool.prototype.query as unknown as (...all: unknown[]) => unknown;
    const spy = jest.spyOn(PipelinedPool.prototype, 'query').mockImplementation(function (this: PipelinedPool, ...all: unknown[]): never {
      if ((all[0] as { name?: string }).name === 'access_grant') statements += 1;
      return query.apply(this, all) as never;
    });
    try {
      for (let warm = 0; warm < 20; warm += 1) await call();
      statements = 0;
      for (let turn = 0; turn < 150; turn += 1) expect((await call()).status).toBe(kind === 'an address' ? 401 : 200);
      expect(statements).toBeLessThanOrEqual(15);
    } finally {
      spy.mockRestore();
    }
  });

  it('never show more calls than remain, over two processes in turn', async () => {
    const tenant = await createTenant(t.db);
    const session = (await openSessions(t.db, [tenant.admin.id]))(tenant.admin.id);
    const start = performance.now();
    for (let turn = 1; turn <= 300; turn += 1) {
      const { headers } = await [t, other][turn % 2]!.http.get('/v1/users/me').set(session).expect(200);
      const shown = Number(/r=(\d+)/.exec(headers['ratelimit']!)![1]);
      const refilled = ((performance.now() - start) / 1000) * 50;
      expect(shown).toBeLessThanOrEqual(3000 - turn + Math.ceil(refilled));
      expect(shown).toBeGreaterThan(0);
    }
  });

  it('are refused at once when the session ends', async () => {
    const tenant = await createTenant(t.db);
    const session = (await openSessions(t.db, [tenant.admin.id]))(tenant.admin.id);
    for (let turn = 0; turn < 30; turn += 1) await t.http.get('/v1/users/me').set(session).expect(200);
    await t.db.rows('DELETE FROM sessions WHERE user_id = $1', [tenant.admin.id]);
    await t.http.get('/v1/users/me').set(session).expect(401);
  });
});

import { randomUUID } from 'node:crypto';
import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { type Job, JobsService } from '../../src/jobs/jobs.service.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type SignedInPerson, signUp, signUpOperator } from '../support/people.js';
import { runJob } from '../support/tenants.js';
import { skipJob } from '../support/tenant-world.js';
import { until, untilLocked } from '../support/until.js';

interface Run {
  holder: string;
  attempts: number;
  count: number | null;
  error: string | null;
  finished: boolean;
}

function runsOf(db: TestDatabase, job: string): Promise<Run[]> {
  return db.rows<Run>(
    `SELECT holder, attempts, count, error, finished_at IS NOT NULL AS finished FROM job_runs WHERE job = $1 ORDER BY created_at`,
    [job],
  );
}

describe('jobs', () => {
  let t: TestApp;
  let operator: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp({ PURGE_AFTER_DAYS: '30' });
    operator = await signUpOperator(t);
  });
  afterAll(() => t.close());

  it('are listed with their last run', async () => {
    await runJob(t, operator, 'prune_outbox');
    const { body } = await t.http.get('/v1/jobs').set(operator.auth).expect(200);
    const named = (name: string) => (body.data as { name: string }[]).find((job) => job.name === name);
    for (const name of ['expire_sessions', 'expire_verifications', 'purge_users', 'prune_job_runs', 'sweep_rate_limits'])
      expect(named(name)).toMatchObject({ everySeconds: expect.any(Number), description: expect.any(String) });
    expect(named('prune_outbox')).toMatchObject({ lastRun: { count: 0, error: null, attempts: 1, finishedAt: expect.any(String) } });
  });

  it('are started by operators only, and only known ones', async () => {
    const other = await signUp(t);
    await t.http.post('/v1/jobs/expire_sessions/run').expect(401);
    await t.http.post('/v1/jobs/expire_sessions/run').set(other.auth).expect(403);
    await t.http.get('/v1/jobs').set(other.auth).expect(403);
    const { body } = await t.http.post('/v1/jobs/no_such_job/run').set(operator.auth).expect(404);
    expect(body.code).toBe('job_not_found');
  });

  it('delete expired one-time tokens and keep the others', async () => {
    await t.db.rows(
      `INSERT INTO verifications (id, identifier, value, expires_at)
       SELECT gen_random_uuid(), 'test-' || n, 'v', now() + CASE WHEN n <= 1500 THEN interval '-1 second' ELSE interval '1 hour' END
         FROM generate_series(1, 1507) n`,
    );
    await runJob(t, operator, 'expire_verifications');
    const counts = (await runsOf(t.db, 'expire_verifications')).map(({ count }) => count!);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(1500);
    expect(await t.db.rows(`SELECT FROM verifications WHERE identifier LIKE 'test-%'`)).toHaveLength(7);
  });

  it('are left to another process when theirs stops, which is no failure', async () => {
    const one = await startTestApp({}, t.db);
    const failures = jest.spyOn(Logger.prototype, 'error');
    one.app.get(JobsService).register({
      name: 'interrupted',
      description: 'Runs until the process stops',
      everySeconds: 3600,
      run: (signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        }),
    });
    await until(async () => (await runsOf(t.db, 'interrupted')).length === 1);
    await one.close();
    expect(await runsOf(t.db, 'interrupted')).toMatchObject([{ attempts: 1, finished: false, error: null }]);
    expect(failures.mock.calls.filter(([, message]) => message === 'Job interrupted failed')).toEqual([]);
    failures.mockRestore();
  });

  it('purge users after the retention time', async () => {
    const [old, recent] = [await signUp(t), await signUp(t)];
    for (const { auth } of [old, recent]) await t.http.delete('/v1/users/me').set(auth).expect(204);
    await t.db.rows(`UPDATE users SET deleted_at = now() - interval '31 days' WHERE id = $1`, [old.id]);
    await runJob(t, operator, 'purge_users');
    expect(await t.db.rows('SELECT id FROM users WHERE id = ANY ($1)', [[old.id, recent.id]])).toEqual([{ id: recent.id }]);
  });

  it('record why they failed and run again at the next tick', async () => {
    let fails = 2;
    t.app.get(JobsService).register({
      name: 'fails_at_first',
      description: 'Fails twice',
      everySeconds: 1,
      run: async () => {
        await t.db.rows(fails-- > 0 ? 'SELECT 1 / 0' : 'SELECT 1');
        return 7;
      },
    });
    const runs = await until(async () => {
      const all = await runsOf(t.db, 'fails_at_first');
      return all.some(({ count }) => count === 7) && all;
    });
    expect(runs.slice(0, 3)).toMatchObject([
      { error: 'division by zero', count: null, finished: true },
      { error: 'division by zero', count: null, finished: true },
      { error: null, count: 7, finished: true },
    ]);
    const { text } = await t.http.get('/metrics').expect(200);
    expect(text).toContain('tenantry_job_runs_total{job="fails_at_first",outcome="failed"} 2');
  });
});

describe('jobs on two replicas', () => {
  const YEAR = 365 * 86_400;
  let db: TestDatabase;
  let replicas: TestApp[];
  let operator: SignedInPerson;
  const spies: jest.Spied<(...all: unknown[]) => void>[] = [];

  beforeEach(async () => {
    db = await createTestDatabase();
    replicas = [await startTestApp({}, db), await startTestApp({}, db)];
    operator = await signUpOperator(replicas[0]!);
  });
  afterEach(async () => {
    for (const spy of spies.splice(0)) spy.mockRestore();
    await Promise.all(replicas.map((replica) => replica.close()));
    await db.drop();
  });

  const jobsOf = ({ app }: TestApp) => app.get(JobsService);
  const spyOnLog = (level: 'debug' | 'error') => {
    const spy = jest.spyOn(Logger.prototype, level).mockImplementation(() => undefined);
    spies.push(spy as (typeof spies)[number]);
    return spy;
  };

  /** Adds a job that runs until it is ended or stopped, by default without a due tick. */
  async function addSlowJob({ everySeconds = YEAR, on = replicas } = {}) {
    const name = `slow_${randomUUID().slice(0, 8)}`;
    const startedRuns: AbortSignal[] = [];
    const ends: ((count: number) => void)[] = [];
    const job: Job = {
      name,
      description: 'Waits',
      everySeconds,
      run: async (signal) => {
        startedRuns.push(signal);
        return new Promise<number>((resolve) => {
          ends.push(resolve);
          signal.addEventListener('abort', () => resolve(0));
        });
      },
    };
    if (everySeconds === YEAR) await skipJob(db, name, YEAR);
    for (const replica of on) jobsOf(replica).register(job);
    const ours = async () =>
      (await runsOf(db, name)).filter(({ attempts, finished, count }) => attempts > 1 || !finished || count !== null);
    return { name, startedRuns, end: (count: number) => ends.shift()!(count), runs: ours };
  }

  const start = async (name: string, replica = replicas[0]!) => replica.http.post(`/v1/jobs/${name}/run`).set(operator.auth);

  it('start one run for concurrent requests, and another one only after it has finished', async () => {
    const job = await addSlowJob();
    // All requests look for a run before one can be written.
    const gate = await db.pool.connect();
    await gate.query('BEGIN; LOCK TABLE job_runs IN EXCLUSIVE MODE');
    const asking = Promise.all([...replicas, ...replicas, ...replicas, ...replicas].map((replica) => start(job.name, replica)));
    await untilLocked(db, 8);
    await gate.query('COMMIT');
    gate.release();
    const answers = await asking;
    const outcomes = answers.map(({ status, body }) => `${status} ${body.code}`).toSorted();
    expect(outcomes).toEqual(['202 undefined', ...Array<string>(7).fill('409 job_already_running')]);
    await until(() => job.startedRuns.length === 1);
    expect((await start(job.name, replicas[1])).status).toBe(409);
    job.end(3);
    await until(async () => (await job.runs()).every(({ finished }) => finished));
    expect(await job.runs()).toMatchObject([{ count: 3, attempts: 1, error: null }]);
    expect((await start(job.name, replicas[1])).status).toBe(202);
    await until(() => job.startedRuns.length === 2);
    job.end(4);
  });

  it('share the ticks: each runs once, and the second replica logs no error', async () => {
    const errors = spyOnLog('error');
    const [first, second] = replicas as [TestApp, TestApp];
    const ran: TestApp[] = [];
    const job = (name: string, replica: TestApp): Job => ({
      name,
      description: 'Counts its runs',
      everySeconds: YEAR,
      run: async () => {
        if (name === 'shared') ran.push(replica);
        return Promise.resolve(1);
      },
    });
    jobsOf(first).register(job('shared', first));
    await until(async () => (await runsOf(db, 'shared')).some(({ finished }) => finished));
    jobsOf(second).register(job('shared', second));
    // Checked after `shared` in the same round.
    jobsOf(second).register(job('after_shared', second));
    await until(async () => (await runsOf(db, 'after_shared')).length === 1);
    expect(ran).toEqual([first]);
    expect(await runsOf(db, 'shared')).toMatchObject([{ attempts: 1, count: 1, holder: jobsOf(first).lease.holder }]);
    expect(errors.mock.calls).toEqual([]);
  });

  it('keep a long run alive beyond its lease while its process lives', async () => {
    for (const replica of replicas) jobsOf(replica).lease.leaseSeconds = 1;
    const job = await addSlowJob();
    expect((await start(job.name)).status).toBe(202);
    const isOlderThanTwoLeases = `SELECT 1 FROM job_runs WHERE job = $1 AND finished_at IS NULL AND now() > started_at + interval '2.5 seconds'`;
    await until(async () => (await db.rows(isOlderThanTwoLeases, [job.name])).length === 1);
    expect(await job.runs()).toMatchObject([{ attempts: 1, finished: false, holder: jobsOf(replicas[0]!).lease.holder }]);
    expect(job.startedRuns.map(({ aborted }) => aborted)).toEqual([false]);
    job.end(1);
    await until(async () => (await job.runs()).every(({ finished }) => finished));
  });

  it('stop a run that lost its lease, and do not record its result', async () => {
    const logged = spyOnLog('debug');
    for (const replica of replicas) jobsOf(replica).lease.leaseSeconds = 1;
    const job = await addSlowJob();
    expect((await start(job.name)).status).toBe(202);
    await until(() => job.startedRuns.length === 1);
    // Another replica takes the lease.
    const other = randomUUID();
    await db.rows(
      `UPDATE job_runs SET holder = $2, attempts = 2, leased_until = now() + interval '1 hour' WHERE job = $1 AND finished_at IS NULL`,
      [job.name, other],
    );
    await until(() => logged.mock.calls.some(([, message]) => message === `Job ${job.name} done: 0`));
    expect(job.startedRuns[0]!.aborted).toBe(true);
    expect(await job.runs()).toEqual([{ holder: other, attempts: 2, finished: false, count: null, error: null }]);
  });

  it('take over the run of a dead replica', async () => {
    const job = await addSlowJob();
    await db.rows(
      `INSERT INTO job_runs (id, job, tick, holder, leased_until) VALUES (gen_random_uuid(), $1, now(), gen_random_uuid(), now() - interval '1 second')`,
      [job.name],
    );
    await until(() => job.startedRuns.length === 1);
    const [run] = await job.runs();
    expect(run).toMatchObject({ attempts: 2, finished: false });
    expect(replicas.map((replica) => jobsOf(replica).lease.holder)).toContain(run!.holder);
    job.end(5);
    await until(async () => (await job.runs())[0]!.finished);
    expect(await job.runs()).toMatchObject([{ attempts: 2, count: 5, error: null }]);
  });
});

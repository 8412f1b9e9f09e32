import { drizzle } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import supertest from 'supertest';
import { SessionsRepository } from '../../src/sessions/sessions.repository.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type SignedInPerson, signUp } from '../support/people.js';
import { endProcesses, ready, startServer, type Process, until } from '../support/processes.js';

const SWEEP = 'expire_sessions';
/** The advisory lock with which the test blocks deletions of sessions. */
const GATE = 42;

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

async function addSessions(db: TestDatabase, userId: string, count: number, expiresIn: string): Promise<void> {
  await db.rows(
    `INSERT INTO sessions (id, user_id, token, expires_at)
     SELECT gen_random_uuid(), $1, gen_random_uuid()::text, now() + $2::interval FROM generate_series(1, $3)`,
    [userId, expiresIn, count],
  );
}

async function countSessions(db: TestDatabase): Promise<{ expired: number; live: number }> {
  const [row] = await db.rows<{ expired: number; live: number }>(
    `SELECT (count(*) FILTER (WHERE expires_at < now()))::int AS expired, (count(*) FILTER (WHERE expires_at >= now()))::int AS live FROM sessions`,
  );
  return row!;
}

describe('the session sweep on three processes', () => {
  let db: TestDatabase;
  let person: SignedInPerson;
  let replicas: Process[];
  let gate: pg.Client;

  beforeAll(async () => {
    db = await createTestDatabase();
    await db.rows(
      `INSERT INTO users (id, email, name, operator) VALUES ('00000000-0000-7000-8000-000000000001', 'owner@example.com', 'Owner', false)`,
    );
    gate = new pg.Client({ connectionString: db.url });
    await gate.connect();
  });
  afterAll(async () => {
    await endProcesses();
    await gate.end();
    await db.drop();
  });

  const OWNER = '00000000-0000-7000-8000-000000000001';
  const PROLONGED = '00000000-0000-7000-8000-000000000002';

  it('deletes exactly the expired sessions, once in total, counted in the log and in a metric', async () => {
    await addSessions(db, OWNER, 100_000, '-1 minute');
    await addSessions(db, OWNER, 1000, '1 day');
    await db.rows(`INSERT INTO sessions (id, user_id, token, expires_at) VALUES ($1, $2, 'prolonged', now() - interval '1 second')`, [
      PROLONGED,
      OWNER,
    ]);
    await db.rows('ANALYZE sessions');
    expect(await planOfSweep(db)).toContain('sessions_expires_at_idx');

    await gate.query('BEGIN');
    await gate.query(`UPDATE sessions SET expires_at = now() + interval '1 day' WHERE id = $1`, [PROLONGED]);
    replicas = await Promise.all((await Promise.all([1, 2, 3].map(() => startServer(db.url)))).map((starting) => ready(starting)));
    // Several ticks may fall into this time; each is one run.
    const runs = await until('the sweep is done', async () => {
      const all = await runsOf(db, SWEEP);
      return all.length > 0 && all.every(({ finished }) => finished) && all.reduce((sum, { count }) => sum + count!, 0) === 100_000 && all;
    });
    await gate.query('COMMIT');
    expect(await countSessions(db)).toEqual({ expired: 0, live: 1001 });
    expect(runs.every(({ attempts, error }) => attempts === 1 && error === null)).toBe(true);

    const logged = await until('the log tells of it', () => {
      const lines = replicas.flatMap((one) => one.log()).filter(({ job, msg }) => job === SWEEP && String(msg).startsWith('Job '));
      return lines.length >= runs.length && lines;
    });
    expect(logged.reduce((sum, { count }) => sum + Number(count), 0)).toBe(100_000);
    const metrics = await Promise.all(replicas.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()));
    const counted = metrics.map((text) => Number(/^tenantry_job_rows_total\{job="expire_sessions"\} (\d+)$/m.exec(text)?.[1] ?? 0));
    expect(counted.reduce((sum, count) => sum + count, 0)).toBe(100_000);
  });

  it('starts one run for concurrent requests, and another process finishes it after a kill', async () => {
    person = await signUp({ http: supertest(replicas[0]!.url) });
    await db.rows('UPDATE users SET operator = true WHERE id = $1', [person.id]);
    await db.rows(
      `CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(${GATE}); RETURN NULL; END $$`,
    );
    await db.rows(`CREATE TRIGGER gate BEFORE DELETE ON sessions EXECUTE FUNCTION wait_at_the_gate()`);
    const unfinished = async () => (await runsOf(db, SWEEP)).filter(({ finished }) => !finished);

    const startBehindTheGate = async (): Promise<Process | undefined> => {
      await gate.query(`SELECT pg_advisory_lock(${GATE})`);
      await addSessions(db, OWNER, 2500, '-1 minute');
      // No run exists yet, and none can be written.
      await gate.query('BEGIN; LOCK TABLE job_runs IN EXCLUSIVE MODE');
      const answering = Promise.all(
        [...replicas, ...replicas, ...replicas].map(async (replica) => {
          const { status, body } = await supertest(replica.url).post(`/v1/jobs/${SWEEP}/run`).set(person.auth);
          return { replica, status, code: body.code as string | undefined };
        }),
      );
      await until('all are about to start one', async () => {
        const waiting = await db.rows(`SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`);
        return waiting.length >= 9;
      });
      await gate.query('COMMIT');
      const answers = await answering;
      const accepted = answers.filter(({ status }) => status === 202);
      for (const { status, code } of answers) if (status !== 202) expect([status, code]).toEqual([409, 'job_already_running']);
      expect(accepted.length).toBeLessThanOrEqual(1);
      expect(await unfinished()).toHaveLength(1);
      if (accepted.length === 1) return accepted[0]!.replica;
      // The scheduled tick was faster than the requests.
      await gate.query(`SELECT pg_advisory_unlock(${GATE})`);
      await until('that tick is finished', async () => (await unfinished()).length === 0);
      return undefined;
    };
    const holder = await until('a run asked for has started', startBehindTheGate);
    const [before] = await unfinished();
    const backend = await until('the sweep waits at the gate', async () => {
      const waiting = await db.rows<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory' AND query ILIKE 'delete from "sessions"%'`,
      );
      return waiting[0]?.pid;
    });

    holder.kill('SIGKILL');
    await holder.ended;
    // PostgreSQL would notice the lost connection later.
    await db.rows('SELECT pg_terminate_backend($1)', [backend]);
    await db.rows('UPDATE job_runs SET leased_until = now() WHERE job = $1 AND finished_at IS NULL', [SWEEP]);
    const taken = await until('another one has taken over', async () => (await unfinished()).find(({ attempts }) => attempts === 2));
    expect(taken.holder).not.toBe(before!.holder);
    await gate.query(`SELECT pg_advisory_unlock(${GATE})`);
    await until('it is finished', async () => (await unfinished()).length === 0);
    expect((await runsOf(db, SWEEP)).find(({ attempts }) => attempts === 2)).toMatchObject({ count: 2500, error: null });
    expect((await countSessions(db)).expired).toBe(0);
  });
});

/** The query plan of the sweep's own statement. */
async function planOfSweep(db: TestDatabase): Promise<string> {
  const statements: { text: string; values: unknown[] }[] = [];
  const client = await db.pool.connect();
  try {
    await client.query('BEGIN');
    const logger = { logQuery: (text: string, values: unknown[]) => statements.push({ text, values }) };
    const repository = new SessionsRepository(
      drizzle(client, { logger }) as unknown as ConstructorParameters<typeof SessionsRepository>[0],
    );
    await repository.deleteExpired(1000);
    await client.query('ROLLBACK');
    const { text, values } = statements[0]!;
    const { rows } = await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${text}`, values);
    return rows.map((row) => row['QUERY PLAN']).join('\n');
  } finally {
    client.release();
  }
}

import { sql } from 'drizzle-orm';
import type pg from 'pg';
import { createDatabase, type Database } from '../../../src/platform/database/database.js';
import { isDatabaseUnavailable } from '../../../src/platform/database/database-errors.js';
import { allInOrder, sendStatement, sendWrite, statement } from '../../../src/platform/database/statement.js';
import { afterCommit } from '../../../src/platform/database/transactions.js';
import { PipelinedPool } from '../../../src/platform/database/pipeline/pipelined-pool.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';

describe('a transaction', () => {
  let test: TestDatabase;
  let db: Database;
  beforeAll(async () => {
    test = await createTestDatabase();
    await test.rows('CREATE TABLE notes (id int PRIMARY KEY)');
    db = createDatabase({ databaseUrl: test.url, databasePoolSize: 2 });
  });
  afterAll(async () => {
    await db.$client.end();
    await test.drop();
  });
  beforeEach(() => test.rows('TRUNCATE notes'));

  const ids = async () => (await test.rows<{ id: number }>('SELECT id FROM notes ORDER BY id')).map(({ id }) => id);

  it('commits all statements, also concurrent ones', async () => {
    await db.transaction((tx) => Promise.all([1, 2, 3].map((id) => tx.execute(sql`INSERT INTO notes VALUES (${id})`))));
    expect(await ids()).toEqual([1, 2, 3]);
  });

  it('commits statements that were sent without waiting for their results', async () => {
    const insert = statement(sql`INSERT INTO notes VALUES (${sql.placeholder('id')}::int)`);
    let sent: Promise<unknown>[] = [];
    await db.transaction(async (tx) => {
      sent = [6, 7].map((id) => sendStatement(insert({ id }), tx));
    });
    await Promise.all(sent);
    expect(await ids()).toEqual([6, 7]);
  });

  it('reports the first failure of statements that were sent together, and not that of those behind it', async () => {
    const insert = statement(sql`INSERT INTO notes VALUES (${sql.placeholder('id')}::int)`);
    const later = async <T>(sent: Promise<T>, turns: number): Promise<T> => (turns === 0 ? sent : later(sent, turns - 1));
    await test.rows('INSERT INTO notes VALUES (8)');
    let sent: Promise<unknown>[] = [];
    const failed = db.transaction(async (tx) => {
      sent = [8, 9].map((id) => sendStatement(insert({ id }), tx));
      sent.forEach((one) => void one.catch(() => undefined));
    });
    await expect(failed).rejects.toMatchObject({ code: '23505' });
    await expect(allInOrder([undefined, later(sent[0]!, 20), sent[1]])).rejects.toMatchObject({ code: '23505' });
    await expect(sent[1]).rejects.toMatchObject({ code: '25P02' });
    expect(await ids()).toEqual([8]);
  });

  it('runs actions after its commit, and none after a rollback', async () => {
    const seen: number[][] = [];
    let looking: Promise<unknown> = Promise.resolve();
    const look = () => {
      looking = ids().then((found) => seen.push(found));
    };
    await db.transaction(async (tx) => {
      afterCommit(tx, look);
      await tx.execute(sql`INSERT INTO notes VALUES (1)`);
    });
    await looking;
    const failed = db.transaction(async (tx) => {
      afterCommit(tx, look);
      await tx.execute(sql`INSERT INTO notes VALUES (1)`);
    });
    await expect(failed).rejects.toThrow();
    await looking;
    expect(seen).toEqual([[1]]);
    afterCommit(undefined, look);
    await looking;
    expect(seen).toEqual([[1], [1]]);
  });

  it('fails with a write that it did not wait for, and reports the failure of that write', async () => {
    const insert = statement(sql`INSERT INTO notes VALUES (${sql.placeholder('id')}::int)`);
    const twice = async (tx: Parameters<Parameters<Database['transaction']>[0]>[0]) => {
      for (const id of [12, 12]) await sendWrite(insert({ id }), tx);
    };
    await expect(db.transaction(twice)).rejects.toMatchObject({ code: '23505' });
    const withMore = db.transaction(async (tx) => {
      await twice(tx);
      await tx.execute(sql`SELECT id FROM notes`);
    });
    await expect(withMore).rejects.toMatchObject({ code: '23505' });
    expect(await ids()).toEqual([]);
    await db.transaction((tx) => sendWrite(insert({ id: 13 }), tx));
    expect(await ids()).toEqual([13]);
  });

  it('rolls back statements that run beside a failure', async () => {
    let concurrent: Promise<unknown> | undefined;
    let resume: (() => void) | undefined;
    const isOver = new Promise<void>((resolve) => (resume = resolve));
    await expect(
      db.transaction(async (tx) => {
        const slow = async () => {
          await tx.execute(sql`INSERT INTO notes VALUES (${3})`);
          await isOver;
          await tx.execute(sql`INSERT INTO notes VALUES (${4})`);
        };
        concurrent = slow();
        concurrent.catch(() => undefined);
        await tx.execute(sql`INSERT INTO notes VALUES (${5})`);
        throw new Error('broken off');
      }),
    ).rejects.toThrow('broken off');
    resume!();
    await expect(concurrent).rejects.toMatchObject({ cause: { message: 'The transaction is over' } });
    expect(await ids()).toEqual([]);
  });

  it('rejects statements after its end', async () => {
    const insert = statement(sql`INSERT INTO notes VALUES (${sql.placeholder('id')}::int)`);
    let late: (() => Promise<unknown>) | undefined;
    let lateWrite: (() => Promise<unknown>) | undefined;
    await db.transaction(async (tx) => {
      await tx.execute(sql`INSERT INTO notes VALUES (${6})`);
      late = async () => tx.execute(sql`INSERT INTO notes VALUES (${7})`);
      lateWrite = async () => sendWrite(insert({ id: 8 }), tx);
    });
    await expect(late!()).rejects.toMatchObject({ cause: { message: 'The transaction is over' } });
    await expect(lateWrite!()).rejects.toThrow('The transaction is over');
    expect(await ids()).toEqual([6]);
  });

  it('prepares a repeated statement once for its connection', async () => {
    const prepared = () =>
      db.transaction(async (tx) => {
        await tx.execute(sql`SELECT id FROM notes WHERE id = ${8}`);
        await tx.execute(sql`SELECT id FROM notes WHERE id = ${9}`);
        const { rows } = await tx.execute<{ count: number }>(
          sql`SELECT count(*)::int AS count FROM pg_prepared_statements WHERE statement = 'SELECT id FROM notes WHERE id = $1'`,
        );
        return rows[0]!.count;
      });
    expect([await prepared(), await prepared()]).toEqual([1, 1]);
  });

  it('reports the original error, not the loss of its connection', async () => {
    const failure = db.transaction(async (tx) => {
      await tx.execute(sql`SET LOCAL statement_timeout = 10`);
      await tx.execute(sql`SELECT pg_sleep(${10})`);
    });
    await expect(failure).rejects.toMatchObject({ cause: { code: '57014' } });
  });

  it('fails completely when the database terminates it', async () => {
    await expect(
      db.transaction(async (tx) => {
        await tx.execute(sql`INSERT INTO notes VALUES (${10})`);
        await tx.execute(sql`SELECT pg_terminate_backend(pg_backend_pid())`);
      }),
    ).rejects.toThrow();
    expect(await ids()).toEqual([]);
    await db.transaction((tx) => tx.execute(sql`INSERT INTO notes VALUES (${11})`));
    expect(await ids()).toEqual([11]);
  });

  it('with a prepared statement that a migration invalidated fails once for a connection, as an unavailable database', async () => {
    const single = createDatabase({ databaseUrl: test.url, databasePoolSize: 1 });
    try {
      await test.rows('CREATE TABLE kinds (id int, kind int); INSERT INTO kinds VALUES (1, 2)');
      const read = () => single.transaction((tx) => tx.execute(sql`SELECT kind FROM kinds WHERE id = ${1}`));
      for (let time = 1; time <= 3; time += 1) await read();
      await test.rows('ALTER TABLE kinds ALTER COLUMN kind TYPE text');
      const failure = await read().then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(isDatabaseUnavailable(failure)).toBe(true);
      expect((await read()).rows).toEqual([{ kind: '2' }]);
    } finally {
      await single.$client.end();
    }
  });

  it('keeps its connections after a statement that PostgreSQL never executes', async () => {
    const pool = new PipelinedPool({ connectionString: test.url }, 1);
    try {
      const send = async (name: string, text: string) => (pool as pg.Pool).query<{ pid: number }>({ name, text });
      const pid = async () => (await send('pid', 'SELECT pg_backend_pid() AS pid')).rows[0]!.pid;
      const before = await pid();
      const failure = await send('never', 'SELECT count(*) FROM notes FOR UPDATE').then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(failure).toMatchObject({ code: '0A000' });
      expect(isDatabaseUnavailable(failure)).toBe(false);
      expect(await pid()).toBe(before);
    } finally {
      await pool.end();
    }
  });
});

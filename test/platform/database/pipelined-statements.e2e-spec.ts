import { jest } from '@jest/globals';
import { sql } from 'drizzle-orm';
import { pgTable, text, timestamp, uuid } from 'drizzle-orm/pg-core';
import pg from 'pg';
import { createDatabase, type Database } from '../../../src/platform/database/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';

const ID = '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182';

const notes = pgTable('notes', { id: uuid('id').primaryKey(), content: text('content'), at: timestamp('at', { withTimezone: true }) });

describe('a statement on a shared connection', () => {
  let test: TestDatabase;
  let db: Database;
  beforeEach(async () => {
    test = await createTestDatabase();
    await test.rows('CREATE TABLE notes (id uuid PRIMARY KEY, content text, at timestamptz)');
    await test.rows(`INSERT INTO notes VALUES ($1, NULL, '2026-01-02T03:04:05.678Z')`, [ID]);
    db = createDatabase({ databaseUrl: test.url, databasePoolSize: 2 });
  });
  afterEach(async () => {
    await db.$client.end();
    await test.drop();
  });

  const run = async (name: string, statement: string, values: unknown[] = []) =>
    db.$client.query({ name, text: statement, values }) as Promise<pg.QueryResult>;

  it('returns the same rows at every call, also with calls under way at once', async () => {
    const byId = db
      .select()
      .from(notes)
      .where(sql`${notes.id} = ${sql.placeholder('id')}`)
      .prepare('notes_by_id');
    const row = { id: ID, content: null, at: new Date('2026-01-02T03:04:05.678Z') };
    for (let round = 0; round < 3; round += 1) {
      const found = await Promise.all(
        Array.from({ length: 20 }, (_, index) => byId.execute({ id: index % 2 === 0 ? ID : '0'.repeat(32) })),
      );
      expect(found).toEqual(Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? [row] : [])));
      const { rows, rowCount, command, fields } = await run('plain', 'SELECT id, content, at, 7 AS seven FROM notes WHERE id = $1', [ID]);
      expect(rows).toEqual([{ ...row, seven: 7 }]);
      expect([rowCount, command, fields.map(({ name }) => name)]).toEqual([1, 'SELECT', ['id', 'content', 'at', 'seven']]);
    }
  });

  it('reports how many rows it changed, also without columns', async () => {
    for (const [rowCount, id] of [[1, ID] as const, [0, '0'.repeat(32)] as const, [1, ID] as const])
      expect(await run('change', 'UPDATE notes SET content = $2 WHERE id = $1', [id, 'x'])).toMatchObject({ rowCount, rows: [] });
  });

  it('asks for its columns once on each of the four connections', async () => {
    const describe = jest.spyOn(pg.Connection.prototype as pg.Connection & { describe(message: object): void }, 'describe');
    try {
      for (let call = 0; call < 20; call += 1) await run('seven', 'SELECT 7 AS seven');
      expect(describe).toHaveBeenCalledTimes(4);
    } finally {
      describe.mockRestore();
    }
  });

  it('fails alone: its neighbours on the connection get their own rows', async () => {
    const divide = async (by: number) => run('divide', 'SELECT 10 / $1::int AS quotient', [by]);
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    for (let round = 0; round < 3; round += 1) {
      const calls = [divide(1), divide(0), divide(2), run('json', 'SELECT $1::jsonb AS value', [circular]), divide(5)];
      const outcomes = await Promise.allSettled(calls);
      expect(outcomes.map((one) => (one.status === 'fulfilled' ? one.value.rows : (one.reason as Error).message))).toEqual([
        [{ quotient: 10 }],
        'division by zero',
        [{ quotient: 5 }],
        expect.stringContaining('circular structure'),
        [{ quotient: 2 }],
      ]);
      expect((await run('json', 'SELECT $1::jsonb AS value', [{ round }])).rows).toEqual([{ value: { round } }]);
    }
  });

  it('has the new columns after a migration changed their types', async () => {
    const read = async () => (await run('read', 'SELECT content FROM notes')).rows;
    expect(await read()).toEqual([{ content: null }]);
    await test.rows('ALTER TABLE notes ALTER content TYPE int USING 5');
    expect(await Promise.all(Array.from({ length: 12 }, read))).toEqual(Array.from({ length: 12 }, () => [{ content: 5 }]));
  });
});

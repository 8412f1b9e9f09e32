import fc from 'fast-check';
import { sql } from 'drizzle-orm';
import { createDatabase, type Database } from '../../../src/platform/database/database.js';
import { arraysOf, type Columns, given, sendStatement, statement } from '../../../src/platform/database/statement.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';

interface Row {
  id: string | null;
  at: number | null;
  name: string | null;
  count: number | null;
  small: number | null;
  level: number | null;
  digest: string | null;
  data: string | null;
  kind: 'user' | 'organization' | null;
}

const COLUMNS: Columns<Row> = {
  id: ['uuid', (row) => row.id],
  at: ['timestamptz', (row) => row.at],
  name: ['text', (row) => row.name],
  count: ['bigint', (row) => row.count],
  small: ['smallint', (row) => row.small],
  level: ['float8', (row) => row.level],
  digest: ['bytea', (row) => row.digest],
  data: ['jsonb', (row) => row.data],
  kind: ['owner_kind', (row) => row.kind],
};
const READ = statement(
  sql`SELECT id, (extract(epoch FROM at) * 1000)::text AS at, name, count::text, small::text, level::text, encode(digest, 'hex') AS digest, data::text, kind FROM ${given(COLUMNS)}`,
);

const column = <T>(values: fc.Arbitrary<T>) => fc.oneof({ weight: 4, arbitrary: values }, { weight: 1, arbitrary: fc.constant(null) });
/** Without NUL and lone surrogates, which no text of a request has. */
const text = fc.string({ unit: 'binary', maxLength: 80 }).map((value) => value.toWellFormed().replaceAll('\0', ''));
const ROW = fc.record<Row>({
  id: column(fc.uuid()),
  at: column(fc.date({ min: new Date(0), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true }).map((date) => date.getTime())),
  name: column(fc.oneof(text, fc.constantFrom('', 'gpt-5-mini', '"\\{},', 'NULL', 'é'.repeat(70)))),
  count: column(fc.oneof(fc.maxSafeInteger(), fc.constantFrom(0, -0, -1, 2 ** 31, 2 ** 32, -(2 ** 32) - 5, Number.MAX_SAFE_INTEGER))),
  small: column(fc.integer({ min: -32_768, max: 32_767 })),
  level: column(fc.oneof(fc.double({ noNaN: true }), fc.constantFrom(0, -0))),
  digest: column(fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('hex'))),
  data: column(fc.dictionary(text, fc.oneof(text, fc.integer(), fc.boolean())).map((value) => JSON.stringify(value))),
  kind: column(fc.constantFrom('user', 'organization')),
});

describe('rows that are sent as one array for each column', () => {
  let test: TestDatabase;
  let db: Database;
  beforeAll(async () => {
    test = await createTestDatabase();
    db = createDatabase({ databaseUrl: test.url, databasePoolSize: 2 });
  });
  afterAll(async () => {
    await db.$client.end();
    await test.drop();
  });

  const numberOf = (value: string | null) => (value === null ? null : Number(value));
  async function send(rows: Row[]): Promise<Row[]> {
    const result = await sendStatement<Record<keyof Row, string | null>>(READ(arraysOf(COLUMNS, rows)), db);
    return result.rows.map(({ at, count, small, level, data, ...row }) => ({
      ...row,
      at: numberOf(at),
      count: numberOf(count),
      small: numberOf(small),
      level: numberOf(level),
      data: data === null ? null : JSON.stringify(JSON.parse(data)),
      kind: row.kind as Row['kind'],
    }));
  }
  /** As PostgreSQL keeps it: no negative zero in whole numbers, and the names of an object sorted. */
  const expected = ({ count, data, ...row }: Row): unknown => ({
    ...row,
    count: count === null ? null : count + 0,
    data: data === null ? null : expect.any(String),
  });

  it('arrive as they were sent', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(ROW, { maxLength: 30 }), async (rows) => {
        const found = await send(rows);
        expect(found).toEqual(rows.map(expected));
        const data = (all: Row[]) => all.map((row) => (row.data === null ? null : (JSON.parse(row.data) as unknown)));
        expect(data(found)).toEqual(data(rows));
      }),
      { numRuns: 200 },
    );
  });

  it('may be many and long', async () => {
    const row: Row = {
      id: null,
      at: 0,
      name: 'é'.repeat(5000),
      count: 1,
      small: 1,
      level: 1,
      digest: 'ff'.repeat(100),
      data: '{}',
      kind: null,
    };
    const rows = Array.from({ length: 500 }, (_, index) => ({ ...row, name: `${row.name}${index}`, count: index }));
    expect(await send(rows)).toEqual(rows);
  });
});

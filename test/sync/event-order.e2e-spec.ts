import { asc } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { integer, pgTable } from 'drizzle-orm/pg-core';
import { type EventVersion, EventRank, isNewer, versionColumns, newestFirst } from '../../src/sync/event-version.js';
import { eventVersion } from '../../src/platform/database/columns.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

const keys = pgTable('keys_under_test', { place: integer('place').primaryKey(), ...eventVersion() });

const TIMES = ['-infinity', '2026-03-01T00:00:00.000001Z', '2026-03-01T00:00:00.000002Z'];

/** Oldest first, by time, then modification time, then rank, then message id. */
const OLDEST_FIRST: EventVersion[] = TIMES.flatMap((at) =>
  TIMES.flatMap((modifiedAt) =>
    [EventRank.create, EventRank.update, EventRank.delete].flatMap((rank) =>
      ['a', 'b'].map((messageId) => ({ at, modifiedAt, rank, messageId })),
    ),
  ),
);

describe('the order of events', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await createTestDatabase();
    await db.rows(
      `CREATE TABLE keys_under_test (place int PRIMARY KEY, event_at timestamptz, event_modified_at timestamptz, event_rank smallint, event_id text)`,
    );
    await drizzle(db.pool)
      .insert(keys)
      .values(OLDEST_FIRST.map((key, place) => ({ place, ...versionColumns(key) })));
  });
  afterAll(() => db.drop());

  it('lists rows by time, then modification time, then rank, then message id, newest first', async () => {
    const rows = await drizzle(db.pool).select({ place: keys.place }).from(keys).orderBy(newestFirst(keys));
    expect(rows.map(({ place }) => place)).toEqual(OLDEST_FIRST.map((_, place) => place).toReversed());
  });

  it('lets an event overwrite exactly the rows with an older event version', async () => {
    for (const [place, key] of OLDEST_FIRST.entries()) {
      const rows = await drizzle(db.pool)
        .select({ place: keys.place, isNewer: isNewer(key, keys) })
        .from(keys)
        .orderBy(asc(keys.place));
      expect(rows.map((row) => row.isNewer)).toEqual(OLDEST_FIRST.map((_, other) => place > other));
    }
  });
});

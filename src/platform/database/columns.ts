import { sql } from 'drizzle-orm';
import { customType, type PgColumn, smallint, text, timestamp } from 'drizzle-orm/pg-core';

/** To the millisecond: a cursor made from a JS Date must match the row exactly. */
export const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 });

export const createdAt = () => time('created_at').notNull().defaultNow();

export const timestamps = () => ({
  createdAt: createdAt(),
  updatedAt: time('updated_at')
    .notNull()
    .defaultNow()
    .$onUpdateFn(() => sql`now()`),
});

/** The time of a provider's event, to the microsecond and as text: as JS Dates, two events could be equal. */
export const preciseTime = (name: string) => timestamp(name, { withTimezone: true, precision: 6, mode: 'string' });

/** Only for searching in SQL. */
export const tsvector = customType<{ data: string }>({ dataType: () => 'tsvector' });

export const bytes = customType<{ data: Buffer }>({ dataType: () => 'bytea' });

/** The version of the event that last wrote the row. The default is older than any event. */
export const eventVersion = () => ({
  eventAt: preciseTime('event_at')
    .notNull()
    .default(sql`'-infinity'`),
  eventModifiedAt: preciseTime('event_modified_at')
    .notNull()
    .default(sql`'-infinity'`),
  eventRank: smallint('event_rank').notNull().default(0),
  eventId: text('event_id').notNull().default(''),
});

/** Excludes rows that a provider may not show everywhere yet. */
export const isAMinuteOld = ({ createdAt: column }: { createdAt: PgColumn }) => sql`${column} < now() - interval '1 minute'`;

import { type SQL, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';

/**
 * Where an event stands among all events that write one row: by its time, then by the time at which the
 * provider last changed the thing, then delete before update before create, then by the message's id.
 * Compared in SQL, to the microsecond (docs/decisions/0013).
 */
export interface EventVersion {
  /** ISO 8601, or `-infinity` for what no event said. */
  at: string;
  /** ISO 8601, or `-infinity` where the provider does not tell. */
  modifiedAt: string;
  rank: EventRank;
  messageId: string;
  /**
   * It is no event's, but the key of a row that was found to be wrong: written are only the fields, and only if
   * nothing has written that row since.
   */
  isRepair?: boolean;
}

export const EventRank = { embedded: 0, create: 1, update: 2, delete: 3 } as const;
export type EventRank = (typeof EventRank)[keyof typeof EventRank];

interface KeyColumns {
  eventAt: PgColumn;
  eventModifiedAt: PgColumn;
  eventRank: PgColumn;
  eventId: PgColumn;
}

/** A row's own key, as it was read. */
export function keyOfRow(row: { eventAt: string; eventModifiedAt: string; eventRank: number; eventId: string }): EventVersion {
  return { at: row.eventAt, modifiedAt: row.eventModifiedAt, rank: row.eventRank as EventRank, messageId: row.eventId };
}

/** What a thing's child says about it: newer than nothing, older than every event of its own. */
export function embedded(modifiedAt: string, messageId: string): EventVersion {
  return { at: '-infinity', modifiedAt, rank: EventRank.embedded, messageId };
}

/** The columns of a row that an event writes. */
export function keyColumns({ at, modifiedAt, rank, messageId }: EventVersion) {
  return { eventAt: at, eventModifiedAt: modifiedAt, eventRank: rank, eventId: messageId };
}

/** Whether an event is newer than the one that last wrote the row. */
export function isNewer({ at, modifiedAt, rank, messageId }: EventVersion, row: KeyColumns): SQL {
  return sql`(${at}::timestamptz, ${modifiedAt}::timestamptz, ${rank}::smallint, ${messageId}) > (${row.eventAt}, ${row.eventModifiedAt}, ${row.eventRank}, ${row.eventId})`;
}

/** Whether nothing has written the row since this key was read from it. */
export function isSame({ at, modifiedAt, rank, messageId }: EventVersion, row: KeyColumns): SQL {
  return sql`(${row.eventAt}, ${row.eventModifiedAt}, ${row.eventRank}, ${row.eventId}) = (${at}::timestamptz, ${modifiedAt}::timestamptz, ${rank}::smallint, ${messageId})`;
}

/** Whether what comes with this key is to be written: it is newer, or repairs what nothing else has written since. */
export function mayWrite(key: EventVersion, row: KeyColumns): SQL {
  return key.isRepair === true ? isSame(key, row) : isNewer(key, row);
}

/** Newest first. */
export function newestFirst(row: KeyColumns): SQL {
  return sql`${row.eventAt} DESC, ${row.eventModifiedAt} DESC, ${row.eventRank} DESC, ${row.eventId} DESC`;
}

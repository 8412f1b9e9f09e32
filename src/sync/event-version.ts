import { type SQL, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';

/**
 * The order of the events that write one row: by time, then by the provider's modified time, then delete over update
 * over create, then by message id. Compared in SQL, to the microsecond (docs/decisions/0013).
 */
export interface EventVersion {
  /** ISO 8601, or `-infinity` for values that no event of the object has set. */
  at: string;
  /** ISO 8601, or `-infinity` if the provider does not send it. */
  modifiedAt: string;
  rank: EventRank;
  messageId: string;
  /** This is the version of a row that is wrong: its fields are written only if the row still has this version. */
  isRepair?: boolean;
}

export const EventRank = { embedded: 0, create: 1, update: 2, delete: 3 } as const;
export type EventRank = (typeof EventRank)[keyof typeof EventRank];

/** Stands for the version in a statement that is built once. Drizzle takes a placeholder wherever it takes a value. */
export function versionPlaceholders(prefix = ''): EventVersion {
  const named = (name: string) => sql.placeholder(`${prefix}${name}`);
  return {
    at: named('at'),
    modifiedAt: named('modifiedAt'),
    rank: named('rank'),
    messageId: named('messageId'),
    isRepair: named('isRepair'),
  } as unknown as EventVersion;
}

export const VERSION = versionPlaceholders();

export function versionValues({ at, modifiedAt, rank, messageId, isRepair = false }: EventVersion, prefix = ''): Record<string, unknown> {
  return {
    [`${prefix}at`]: at,
    [`${prefix}modifiedAt`]: modifiedAt,
    [`${prefix}rank`]: rank,
    [`${prefix}messageId`]: messageId,
    [`${prefix}isRepair`]: isRepair,
  };
}

export interface VersionColumns {
  eventAt: PgColumn;
  eventModifiedAt: PgColumn;
  eventRank: PgColumn;
  eventId: PgColumn;
}

export function versionOfRow(row: { eventAt: string; eventModifiedAt: string; eventRank: number; eventId: string }): EventVersion {
  return { at: row.eventAt, modifiedAt: row.eventModifiedAt, rank: row.eventRank as EventRank, messageId: row.eventId };
}

/** The version of an object inside an event of another object: older than every event of its own. */
export function embedded(modifiedAt: string, messageId: string): EventVersion {
  return { at: '-infinity', modifiedAt, rank: EventRank.embedded, messageId };
}

export function versionColumns({ at, modifiedAt, rank, messageId }: EventVersion) {
  return { eventAt: at, eventModifiedAt: modifiedAt, eventRank: rank, eventId: messageId };
}

export function isNewer({ at, modifiedAt, rank, messageId }: EventVersion, row: VersionColumns): SQL {
  return sql`(${at}::timestamptz, ${modifiedAt}::timestamptz, ${rank}::smallint, ${messageId}) > (${row.eventAt}, ${row.eventModifiedAt}, ${row.eventRank}, ${row.eventId})`;
}

export function isSame({ at, modifiedAt, rank, messageId }: EventVersion, row: VersionColumns): SQL {
  return sql`(${row.eventAt}, ${row.eventModifiedAt}, ${row.eventRank}, ${row.eventId}) = (${at}::timestamptz, ${modifiedAt}::timestamptz, ${rank}::smallint, ${messageId})`;
}

/** Whether a write with this version may happen: it is newer, or a repair of an unchanged row. */
export function mayWrite(version: EventVersion, row: VersionColumns): SQL {
  return sql`CASE WHEN ${version.isRepair ?? false}::boolean THEN ${isSame(version, row)} ELSE ${isNewer(version, row)} END`;
}

export function newestFirst(row: VersionColumns): SQL {
  return sql`${row.eventAt} DESC, ${row.eventModifiedAt} DESC, ${row.eventRank} DESC, ${row.eventId} DESC`;
}

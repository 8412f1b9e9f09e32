import { Inject, Injectable } from '@nestjs/common';
import { and, asc, eq, isNotNull, isNull, type SQL, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { arraysOf, type Columns, given, namesOf, NOW, sendStatement, statement } from '../../platform/database/statement.js';
import type { BillingProviderName } from '../../plans/plans.js';
import { type MeterExport, meterExports as rows } from './meter-exports.table.js';

export const EXPORT_STATES = ['refused', 'pending'] as const;
export type ExportState = (typeof EXPORT_STATES)[number];

export type NewExport = Pick<
  MeterExport,
  'provider' | 'ownerId' | 'eventId' | 'providerCustomerId' | 'occurredAt' | 'values' | 'tokensUsed'
>;

export type LeasedExport = NewExport & Pick<MeterExport, 'attempts'>;

export interface ExportFilters {
  provider?: BillingProviderName;
  state: ExportState;
}

export interface ExportPosition {
  provider: string;
  /** `created_at` of a refused export, `next_attempt_at` of a pending one. */
  at: string;
  ownerId: string;
  eventId: string;
}

export interface ExportBacklog {
  provider: string;
  pending: number;
  refused: number;
  oldestAt: Date | null;
}

const LEASED = {
  provider: rows.provider,
  ownerId: rows.ownerId,
  eventId: rows.eventId,
  providerCustomerId: rows.providerCustomerId,
  occurredAt: rows.occurredAt,
  values: rows.values,
  tokensUsed: rows.tokensUsed,
  attempts: rows.attempts,
};

const NEW_EXPORT: Columns<NewExport> = {
  provider: ['billing_provider', (row) => row.provider],
  owner_id: ['uuid', (row) => row.ownerId],
  event_id: ['text', (row) => row.eventId],
  provider_customer_id: ['text', (row) => row.providerCustomerId],
  occurred_at: ['timestamptz', (row) => row.occurredAt.getTime()],
  values: ['jsonb', (row) => JSON.stringify(row.values)],
  tokens_used: ['bigint', (row) => row.tokensUsed],
};
const INSERT = statement(sql`INSERT INTO ${rows} (${namesOf(NEW_EXPORT)}, next_attempt_at, created_at, updated_at)
  SELECT given.*, ${NOW}, ${NOW}, ${NOW} FROM ${given(NEW_EXPORT)} ON CONFLICT DO NOTHING`);

@Injectable()
export class MeterExportsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async insert(all: NewExport[], now: Date, db: Queryable): Promise<void> {
    await sendStatement(INSERT({ ...arraysOf(NEW_EXPORT, all), now: now.toISOString() }), db);
  }

  /** Leases due exports, the oldest first. The attempt counts even if the process dies in it. */
  async lease(
    provider: BillingProviderName,
    { now, until, limit }: { now: Date; until: Date; limit: number },
    db: Queryable = this.db,
  ): Promise<LeasedExport[]> {
    const due = sql`SELECT ctid FROM ${rows}
                     WHERE ${rows.provider} = ${provider} AND ${rows.nextAttemptAt} <= ${now.toISOString()}
                     ORDER BY ${rows.nextAttemptAt} LIMIT ${limit} FOR NO KEY UPDATE SKIP LOCKED`;
    return (
      db
        .update(rows)
        .set({ attempts: sql`${rows.attempts} + 1`, nextAttemptAt: until })
        // By ctid, which the locks keep valid: for so many keys the planner would scan the table.
        .where(sql`${rows}.ctid = ANY(ARRAY(${due}))`)
        .returning(LEASED)
    );
  }

  /** Also if another worker has leased them meanwhile: the provider has them. */
  async remove(taken: LeasedExport[], db: Queryable = this.db): Promise<void> {
    await db.delete(rows).where(sql`(${rows.ownerId}, ${rows.eventId}) IN (SELECT owner_id, event_id FROM ${list(taken)})`);
  }

  async postpone(leased: LeasedExport[], until: Date, lastError: string | null, db: Queryable = this.db): Promise<void> {
    await db
      .update(rows)
      .set({ nextAttemptAt: until, ...(lastError !== null && { lastError }) })
      .where(isAttemptOf(leased));
  }

  async refuse(leased: LeasedExport[], lastError: string, db: Queryable = this.db): Promise<void> {
    await db.update(rows).set({ nextAttemptAt: null, lastError }).where(isAttemptOf(leased));
  }

  /** Sorted by provider, then `created_at` for refused and `next_attempt_at` for pending exports. */
  async list(
    { provider, state }: ExportFilters,
    { limit, after }: { limit: number; after?: ExportPosition },
    db: Queryable = this.db,
  ): Promise<MeterExport[]> {
    const at = SORTED_BY[state];
    return db
      .select()
      .from(rows)
      .where(and(isIn(state), provider === undefined ? undefined : eq(rows.provider, provider), after && isAfter(at, after)))
      .orderBy(asc(rows.provider), asc(at), asc(rows.ownerId), asc(rows.eventId))
      .limit(limit);
  }

  /** Makes a page of refused exports due, and returns it. */
  async requeueRefused(
    provider: BillingProviderName,
    { now, after, limit }: { now: Date; after?: ExportPosition; limit: number },
    db: Queryable,
  ): Promise<MeterExport[]> {
    const some = await this.list({ provider, state: 'refused' }, { limit, after }, db);
    await db
      .update(rows)
      .set({ nextAttemptAt: now })
      .where(and(isAttemptOf(some), isIn('refused')));
    return some;
  }

  async backlog(db: Queryable = this.db): Promise<ExportBacklog[]> {
    const counted = await db.execute<Omit<ExportBacklog, 'oldestAt'> & { oldest_at: string | null }>(sql`
      SELECT provider, sum(pending)::int AS pending, sum(refused)::int AS refused, min(oldest_at) AS oldest_at FROM (
        SELECT provider, count(*) AS pending, 0 AS refused, min(created_at) AS oldest_at FROM ${rows} WHERE ${isIn('pending')} GROUP BY provider
        UNION ALL SELECT provider, 0, count(*), NULL FROM ${rows} WHERE ${isIn('refused')} GROUP BY provider
      ) parts GROUP BY provider`);
    return counted.rows.map(({ oldest_at: at, ...row }) => ({ ...row, oldestAt: at === null ? null : new Date(at) }));
  }
}

const SORTED_BY = { refused: rows.createdAt, pending: rows.nextAttemptAt };

function isIn(state: ExportState): SQL {
  return state === 'refused' ? isNull(rows.nextAttemptAt) : isNotNull(rows.nextAttemptAt);
}

function isAfter(at: (typeof SORTED_BY)[ExportState], after: ExportPosition): SQL {
  return sql`(${rows.provider}, ${at}, ${rows.ownerId}, ${rows.eventId})
           > (${after.provider}::billing_provider, ${after.at}::timestamptz, ${after.ownerId}::uuid, ${after.eventId})`;
}

/** A worker that lost its lease must not overwrite the next attempt. */
function isAttemptOf(leased: Pick<MeterExport, 'ownerId' | 'eventId' | 'attempts'>[]): SQL {
  return sql`(${rows.ownerId}, ${rows.eventId}, ${rows.attempts}) IN (SELECT owner_id, event_id, attempts FROM ${list(leased)})`;
}

function list(some: Pick<MeterExport, 'ownerId' | 'eventId' | 'attempts'>[]): SQL {
  const [owners, events, attempts] = [some.map((one) => one.ownerId), some.map((one) => one.eventId), some.map((one) => one.attempts)];
  return sql`unnest(${sql.param(owners)}::uuid[], ${sql.param(events)}::text[], ${sql.param(attempts)}::int[]) AS these (owner_id, event_id, attempts)`;
}

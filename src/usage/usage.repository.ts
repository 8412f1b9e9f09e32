import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, type SQL, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../database/database.js';
import { memberships } from '../memberships/organization-memberships.table.js';
import { organizations } from '../organizations/organizations.table.js';
import { users } from '../users/users.table.js';
import { type Usage, usage } from './usage.table.js';
import { type UsageAlert, usageAlerts } from './usage-alerts.table.js';
import { usageEventIds } from './usage-event-ids.table.js';
import { type UsageHold, usageHolds } from './usage-holds.table.js';
import { type UsageQuota, usageQuotas } from './usage-quotas.table.js';
import { usageRollups } from './usage-rollups.table.js';

export type QuotaKey = Pick<UsageQuota, 'ownerId' | 'ownerKind' | 'periodStart' | 'periodEnd'>;
export type EventIdKey = Pick<Usage, 'ownerId' | 'eventId'>;
export type NewUsage = Omit<Usage, 'createdAt'> & { fingerprint: Buffer };
export type Rollup = Omit<typeof usageRollups.$inferSelect, 'createdAt' | 'updatedAt'>;

/**
 * The ledger's statements. Each takes as many rows as there are, as one array a column, and takes locks in the order
 * of its key: two transactions never wait for each other.
 */
@Injectable()
export class UsageRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** When owners began to be; those that are gone are missing. */
  async listCreationTimes(ownerIds: string[], db: Queryable): Promise<{ id: string; createdAt: Date }[]> {
    const ids = sql.param(ownerIds);
    const { rows } = await db.execute<{ id: string; created_at: string }>(
      sql`SELECT id, created_at FROM ${users} WHERE id = ANY (${ids}::uuid[])
        UNION ALL SELECT id, created_at FROM ${organizations} WHERE id = ANY (${ids}::uuid[])`,
    );
    return rows.map((row) => ({ id: row.id, createdAt: new Date(row.created_at) }));
  }

  /** Which of these people belong, or ever belonged, to these organizations. */
  async listMembers(
    pairs: { organizationId: string; userId: string }[],
    db: Queryable,
  ): Promise<{ organizationId: string; userId: string }[]> {
    const given = unnest({
      organization_id: ['uuid', pairs.map((pair) => pair.organizationId)],
      user_id: ['uuid', pairs.map((pair) => pair.userId)],
    });
    return db
      .selectDistinct({ organizationId: memberships.organizationId, userId: memberships.userId })
      .from(memberships)
      .innerJoin(
        sql`${given} AS given`,
        and(sql`given.organization_id = ${memberships.organizationId}`, sql`given.user_id = ${memberships.userId}`),
      );
  }

  /** Makes those that are missing. */
  async insertQuotas(keys: QuotaKey[], db: Queryable): Promise<void> {
    const given = unnest({
      owner_id: ['uuid', keys.map(({ ownerId }) => ownerId)],
      period_start: ['timestamptz', keys.map(({ periodStart }) => periodStart.toISOString())],
      period_end: ['timestamptz', keys.map(({ periodEnd }) => periodEnd.toISOString())],
      owner_kind: ['owner_kind', keys.map(({ ownerKind }) => ownerKind)],
    });
    await db.execute(
      sql`INSERT INTO ${usageQuotas} (owner_id, period_start, period_end, owner_kind) SELECT * FROM ${given} AS given ORDER BY owner_id, period_start ON CONFLICT DO NOTHING`,
    );
  }

  async lockQuotas(keys: QuotaKey[], db: Queryable): Promise<UsageQuota[]> {
    return db
      .select()
      .from(usageQuotas)
      .where(sql`(${usageQuotas.ownerId}, ${usageQuotas.periodStart}) IN (SELECT * FROM ${quotaKeys(keys)} AS given)`)
      .orderBy(usageQuotas.ownerId, usageQuotas.periodStart)
      .for('no key update');
  }

  /** Ends what is past its time of quotas that are locked. */
  async expireHolds(keys: QuotaKey[], now: Date, db: Queryable): Promise<Pick<UsageHold, 'ownerId' | 'periodStart' | 'tokens'>[]> {
    const { rows } = await db.execute<{ owner_id: string; period_start: string; tokens: string }>(
      sql`UPDATE ${usageHolds} AS h SET status = 'expired', updated_at = ${now.toISOString()}::timestamptz
        FROM ${usageQuotas} AS q JOIN ${quotaKeys(keys)} AS given ON given.owner_id = q.owner_id AND given.period_start = q.period_start
        WHERE q.held > 0 AND h.owner_id = q.owner_id AND h.period_start = q.period_start AND h.status = 'live' AND h.expires_at <= ${now.toISOString()}::timestamptz
        RETURNING h.owner_id, h.period_start, h.tokens`,
    );
    return rows.map((row) => ({ ownerId: row.owner_id, periodStart: new Date(row.period_start), tokens: Number(row.tokens) }));
  }

  async listHolds(keys: Pick<UsageHold, 'ownerId' | 'id'>[], db: Queryable): Promise<UsageHold[]> {
    const given = unnest({ owner_id: ['uuid', keys.map(({ ownerId }) => ownerId)], id: ['uuid', keys.map(({ id }) => id)] });
    return db
      .select()
      .from(usageHolds)
      .where(sql`(${usageHolds.ownerId}, ${usageHolds.id}) IN (SELECT * FROM ${given} AS given)`);
  }

  async findHold(ownerId: string, id: string): Promise<UsageHold | undefined> {
    const [hold] = await this.listHolds([{ ownerId, id }], this.db);
    return hold;
  }

  /** Those that were recorded before, with what they said. */
  async listEventIds(keys: EventIdKey[], db: Queryable): Promise<(EventIdKey & { fingerprint: Buffer })[]> {
    return db
      .select({ ownerId: usageEventIds.ownerId, eventId: usageEventIds.eventId, fingerprint: usageEventIds.fingerprint })
      .from(usageEventIds)
      .where(sql`(${usageEventIds.ownerId}, ${usageEventIds.eventId}) IN (SELECT * FROM ${eventIdKeys(keys)} AS given)`);
  }

  /** Answers how many of them were new. */
  async insertEventIds(events: NewUsage[], now: Date, db: Queryable): Promise<number> {
    const given = unnest({
      owner_id: ['uuid', events.map(({ ownerId }) => ownerId)],
      event_id: ['text', events.map(({ eventId }) => eventId)],
      fingerprint: ['bytea', events.map(({ fingerprint }) => `\\x${fingerprint.toString('hex')}`)],
    });
    const { rowCount } = await db.execute(
      sql`INSERT INTO ${usageEventIds} (owner_id, event_id, fingerprint, created_at) SELECT given.*, ${now.toISOString()}::timestamptz FROM ${given} AS given ORDER BY owner_id, event_id ON CONFLICT DO NOTHING`,
    );
    return rowCount ?? 0;
  }

  async insertUsage(events: NewUsage[], now: Date, db: Queryable): Promise<void> {
    const given = unnest({
      owner_id: ['uuid', events.map(({ ownerId }) => ownerId)],
      occurred_at: ['timestamptz', events.map(({ occurredAt }) => occurredAt.toISOString())],
      event_id: ['text', events.map(({ eventId }) => eventId)],
      owner_kind: ['owner_kind', events.map(({ ownerKind }) => ownerKind)],
      actor_user_id: ['uuid', events.map(({ actorUserId }) => actorUserId)],
      model: ['text', events.map(({ model }) => model)],
      ...tokenColumns(events),
      period_start: ['timestamptz', events.map(({ periodStart }) => periodStart.toISOString())],
      hold_id: ['uuid', events.map(({ holdId }) => holdId)],
      metadata: ['jsonb', events.map(({ metadata }) => (metadata === null ? null : JSON.stringify(metadata)))],
    });
    await db.execute(
      sql`INSERT INTO ${usage} (owner_id, occurred_at, event_id, owner_kind, actor_user_id, model, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, tokens_used, overrun, period_start, hold_id, metadata, created_at)
        SELECT given.*, ${now.toISOString()}::timestamptz FROM ${given} AS given`,
    );
  }

  async addToRollups(rollups: Rollup[], now: Date, db: Queryable): Promise<void> {
    const given = unnest({
      owner_id: ['uuid', rollups.map(({ ownerId }) => ownerId)],
      hour: ['timestamptz', rollups.map(({ hour }) => hour.toISOString())],
      model: ['text', rollups.map(({ model }) => model)],
      actor_user_id: ['uuid', rollups.map(({ actorUserId }) => actorUserId)],
      events: ['bigint', rollups.map(({ events }) => events)],
      ...tokenColumns(rollups),
    });
    const sums = ['events', ...TOKEN_COLUMNS].map((name) => `${name} = r.${name} + excluded.${name}`).join(', ');
    await db.execute(
      sql`INSERT INTO ${usageRollups} AS r (owner_id, hour, model, actor_user_id, events, ${sql.raw(TOKEN_COLUMNS.join(', '))})
        SELECT * FROM ${given} AS given ORDER BY owner_id, hour, model, actor_user_id
        ON CONFLICT (owner_id, hour, model, actor_user_id) DO UPDATE SET ${sql.raw(sums)}, updated_at = ${now.toISOString()}::timestamptz`,
    );
  }

  async updateQuotas(quotas: UsageQuota[], now: Date, db: Queryable): Promise<void> {
    const given = unnest({
      owner_id: ['uuid', quotas.map(({ ownerId }) => ownerId)],
      period_start: ['timestamptz', quotas.map(({ periodStart }) => periodStart.toISOString())],
      used: ['bigint', quotas.map(({ used }) => used)],
      overrun: ['bigint', quotas.map(({ overrun }) => overrun)],
      held: ['bigint', quotas.map(({ held }) => held)],
      alerted: ['smallint', quotas.map(({ alerted }) => alerted)],
      requests_owed: ['float8', quotas.map(({ requestsOwed }) => requestsOwed)],
      tokens_owed: ['float8', quotas.map(({ tokensOwed }) => tokensOwed)],
      owed_at: ['float8', quotas.map(({ owedAt }) => owedAt)],
    });
    await db.execute(
      sql`UPDATE ${usageQuotas} AS q SET used = given.used, overrun = given.overrun, held = given.held, alerted = given.alerted,
          requests_owed = given.requests_owed, tokens_owed = given.tokens_owed, owed_at = given.owed_at, updated_at = ${now.toISOString()}::timestamptz
        FROM ${given} AS given WHERE q.owner_id = given.owner_id AND q.period_start = given.period_start`,
    );
  }

  async insertHolds(holds: (typeof usageHolds.$inferInsert)[], db: Queryable): Promise<void> {
    await db.insert(usageHolds).values(holds);
  }

  async endHolds(holds: Pick<UsageHold, 'ownerId' | 'id' | 'status' | 'eventId'>[], now: Date, db: Queryable): Promise<void> {
    const given = unnest({
      owner_id: ['uuid', holds.map(({ ownerId }) => ownerId)],
      id: ['uuid', holds.map(({ id }) => id)],
      status: ['hold_status', holds.map(({ status }) => status)],
      event_id: ['text', holds.map(({ eventId }) => eventId)],
    });
    await db.execute(
      sql`UPDATE ${usageHolds} AS h SET status = given.status, event_id = given.event_id, updated_at = ${now.toISOString()}::timestamptz
        FROM ${given} AS given WHERE h.owner_id = given.owner_id AND h.id = given.id`,
    );
  }

  /** Answers those that were new. */
  async insertAlerts(alerts: UsageAlert[], db: Queryable): Promise<UsageAlert[]> {
    return db.insert(usageAlerts).values(alerts).onConflictDoNothing().returning();
  }

  async findQuota(ownerId: string, periodStart: Date, now: Date): Promise<{ used: number; overrun: number; held: number } | undefined> {
    const past = sql`SELECT coalesce(sum(tokens), 0) FROM ${usageHolds} AS h
      WHERE h.owner_id = ${usageQuotas.ownerId} AND h.period_start = ${usageQuotas.periodStart} AND h.status = 'live' AND h.expires_at <= ${now.toISOString()}::timestamptz`;
    const [row] = await this.db
      .select({ used: usageQuotas.used, overrun: usageQuotas.overrun, held: sql<string>`${usageQuotas.held} - (${past})` })
      .from(usageQuotas)
      .where(and(eq(usageQuotas.ownerId, ownerId), eq(usageQuotas.periodStart, periodStart)));
    return row && { ...row, held: Number(row.held) };
  }

  /** The latest period first, and in it the highest threshold. */
  async listAlerts(
    ownerId: string,
    { limit, after }: { limit: number; after?: { periodStart: string; threshold: number } },
  ): Promise<UsageAlert[]> {
    return this.db
      .select()
      .from(usageAlerts)
      .where(
        and(
          eq(usageAlerts.ownerId, ownerId),
          after &&
            sql`(${usageAlerts.periodStart}, ${usageAlerts.threshold}) < (${after.periodStart}::timestamptz, ${after.threshold}::smallint)`,
        ),
      )
      .orderBy(desc(usageAlerts.periodStart), desc(usageAlerts.threshold))
      .limit(limit);
  }
}

const TOKEN_COLUMNS = ['input_tokens', 'output_tokens', 'cached_input_tokens', 'reasoning_tokens', 'tokens_used', 'overrun'];

type Tokens = Pick<Usage, 'inputTokens' | 'outputTokens' | 'cachedInputTokens' | 'reasoningTokens' | 'tokensUsed' | 'overrun'>;

/** As `TOKEN_COLUMNS` have it. */
function tokenColumns(rows: Tokens[]): Columns {
  return {
    input_tokens: ['bigint', rows.map((row) => row.inputTokens)],
    output_tokens: ['bigint', rows.map((row) => row.outputTokens)],
    cached_input_tokens: ['bigint', rows.map((row) => row.cachedInputTokens)],
    reasoning_tokens: ['bigint', rows.map((row) => row.reasoningTokens)],
    tokens_used: ['bigint', rows.map((row) => row.tokensUsed)],
    overrun: ['bigint', rows.map((row) => row.overrun)],
  };
}

type Columns = Record<string, [type: string, values: unknown[]]>;

/** Rows as a table of a statement whose text is the same however many there are. */
function unnest(columns: Columns): SQL {
  const names = Object.keys(columns);
  const arrays = Object.values(columns).map(([type, values]) => sql`${sql.param(values)}::${sql.raw(type)}[]`);
  return sql`(SELECT * FROM unnest(${sql.join(arrays, sql`, `)}) AS rows (${sql.raw(names.join(', '))}))`;
}

function quotaKeys(keys: QuotaKey[]): SQL {
  return unnest({
    owner_id: ['uuid', keys.map(({ ownerId }) => ownerId)],
    period_start: ['timestamptz', keys.map(({ periodStart }) => periodStart.toISOString())],
  });
}

function eventIdKeys(keys: EventIdKey[]): SQL {
  return unnest({ owner_id: ['uuid', keys.map(({ ownerId }) => ownerId)], event_id: ['text', keys.map(({ eventId }) => eventId)] });
}

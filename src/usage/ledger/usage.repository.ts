import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, inArray, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import {
  arraysOf,
  type Columns,
  columnsOf,
  given,
  namesOf,
  NOW,
  rowsOf,
  sendStatement,
  statement,
} from '../../platform/database/statement.js';
import { memberships } from '../../memberships/organization-memberships.table.js';
import { organizations } from '../../organizations/organizations.table.js';
import { users } from '../../users/users.table.js';
import { type Usage, usage } from '../events/usage-events.table.js';
import { type UsageAlert, usageAlerts } from '../alerts/usage-alerts.table.js';
import { usageEventIds } from '../events/usage-event-ids.table.js';
import { type UsageHold, usageHolds } from '../holds/usage-holds.table.js';
import { type UsageQuota, usageQuotas } from '../quotas/usage-quotas.table.js';
import { usageRollups } from '../rollups/usage-rollups.table.js';

export type QuotaKey = Pick<UsageQuota, 'ownerId' | 'ownerKind' | 'periodStart' | 'periodEnd'>;
export type EventIdKey = Pick<Usage, 'ownerId' | 'eventId'>;
export type HoldKey = Pick<UsageHold, 'ownerId' | 'id'>;
export interface MemberKey {
  organizationId: string;
  userId: string;
}
export type NewUsage = Omit<Usage, 'createdAt'> & { fingerprint: Buffer };
export type Rollup = Omit<typeof usageRollups.$inferSelect, 'createdAt' | 'updatedAt'>;
/** A quota that may count something of the period of another one. */
export interface Overlap {
  ownerId: string;
  /** The starts of both. */
  from: Date;
  to: Date;
}
type EndedHold = HoldKey & Pick<UsageHold, 'status' | 'eventId'>;

// Of tables that grow a few rows are wanted, by their keys. A plan that was made while they were small would go on to
// read all of them until they are analyzed.
const USE_KEYS = statement(sql`SELECT set_config('enable_seqscan', 'off', true)`);

const MEMBER: Columns<MemberKey> = {
  organization_id: ['uuid', (pair) => pair.organizationId],
  user_id: ['uuid', (pair) => pair.userId],
};
const LIST_MEMBERS = statement(sql`SELECT DISTINCT m.organization_id, m.user_id FROM ${memberships} AS m
  JOIN ${given(MEMBER)} ON given.organization_id = m.organization_id AND given.user_id = m.user_id`);

const QUOTA_KEY: Columns<QuotaKey> = {
  owner_id: ['uuid', (key) => key.ownerId],
  period_start: ['timestamptz', (key) => key.periodStart.toISOString()],
};
const NEW_QUOTA: Columns<QuotaKey> = {
  ...QUOTA_KEY,
  period_end: ['timestamptz', (key) => key.periodEnd.toISOString()],
  owner_kind: ['owner_kind', (key) => key.ownerKind],
};
const INSERT_QUOTAS = statement(sql`INSERT INTO ${usageQuotas} (owner_id, period_start, period_end, owner_kind)
  SELECT * FROM ${given(NEW_QUOTA)} ORDER BY owner_id, period_start ON CONFLICT DO NOTHING`);
const LIST_OVERLAPPING = statement(sql`SELECT given.owner_id, given.period_start AS new_start, q.period_start FROM ${given(NEW_QUOTA)}
  JOIN ${usageQuotas} AS q ON q.owner_id = given.owner_id AND q.period_start <> given.period_start
   AND q.period_start < given.period_end AND q.period_end > given.period_start
  WHERE q.used > 0 OR q.held > 0`);
// One after the other in the order of the key: the join goes through what is given.
const LOCK_QUOTAS =
  statement(sql`SELECT ${columnsOf(usageQuotas, 'q')} FROM (SELECT * FROM ${given(QUOTA_KEY)} ORDER BY owner_id, period_start) AS given
  CROSS JOIN LATERAL (SELECT * FROM ${usageQuotas} AS q WHERE q.owner_id = given.owner_id AND q.period_start = given.period_start FOR NO KEY UPDATE) AS q`);
const CHANGED_QUOTA: Columns<UsageQuota> = {
  ...NEW_QUOTA,
  used: ['bigint', (quota) => quota.used],
  overrun: ['bigint', (quota) => quota.overrun],
  held: ['bigint', (quota) => quota.held],
  alerted: ['smallint', (quota) => quota.alerted],
  requests_owed: ['float8', (quota) => quota.requestsOwed],
  tokens_owed: ['float8', (quota) => quota.tokensOwed],
  owed_at: ['float8', (quota) => quota.owedAt],
};
// They are all there and locked. Written so, they are found by their key, whatever the planner thinks of the table.
const UPDATE_QUOTAS = statement(sql`INSERT INTO ${usageQuotas} (${namesOf(CHANGED_QUOTA)}) SELECT * FROM ${given(CHANGED_QUOTA)}
  ON CONFLICT (owner_id, period_start) DO UPDATE SET used = excluded.used, overrun = excluded.overrun, held = excluded.held,
    alerted = excluded.alerted, requests_owed = excluded.requests_owed, tokens_owed = excluded.tokens_owed, owed_at = excluded.owed_at, updated_at = ${NOW}`);

const EXPIRE_HOLDS = statement(sql`UPDATE ${usageHolds} AS h SET status = 'expired', updated_at = ${NOW}
  FROM ${usageQuotas} AS q JOIN ${given(QUOTA_KEY)} ON given.owner_id = q.owner_id AND given.period_start = q.period_start
  WHERE q.held > 0 AND h.owner_id = q.owner_id AND h.period_start = q.period_start AND h.status = 'live' AND h.expires_at <= ${NOW}
  RETURNING h.owner_id, h.period_start, h.tokens`);
const HOLD_KEY: Columns<HoldKey> = { owner_id: ['uuid', (hold) => hold.ownerId], id: ['uuid', (hold) => hold.id] };
const LIST_HOLDS = statement(
  sql`SELECT ${columnsOf(usageHolds, 'h')} FROM ${usageHolds} AS h WHERE (h.owner_id, h.id) IN (SELECT * FROM ${given(HOLD_KEY)})`,
);
const NEW_HOLD: Columns<UsageHold> = {
  ...HOLD_KEY,
  period_start: ['timestamptz', (hold) => hold.periodStart.toISOString()],
  tokens: ['bigint', (hold) => hold.tokens],
  model: ['text', (hold) => hold.model],
  actor_user_id: ['uuid', (hold) => hold.actorUserId],
  status: ['hold_status', (hold) => hold.status],
  expires_at: ['timestamptz', (hold) => hold.expiresAt.toISOString()],
  event_id: ['text', (hold) => hold.eventId],
};
const INSERT_HOLDS = statement(sql`INSERT INTO ${usageHolds} (${namesOf(NEW_HOLD)}, created_at, updated_at)
  SELECT given.*, ${NOW}, ${NOW} FROM ${given(NEW_HOLD)}`);
const ENDED_HOLD: Columns<EndedHold> = {
  ...HOLD_KEY,
  status: ['hold_status', (hold) => hold.status],
  event_id: ['text', (hold) => hold.eventId],
};
const END_HOLDS = statement(sql`UPDATE ${usageHolds} AS h SET status = given.status, event_id = given.event_id, updated_at = ${NOW}
  FROM ${given(ENDED_HOLD)} WHERE h.owner_id = given.owner_id AND h.id = given.id`);

const EVENT_ID: Columns<EventIdKey> = { owner_id: ['uuid', (event) => event.ownerId], event_id: ['text', (event) => event.eventId] };
const LIST_EVENT_IDS = statement(sql`SELECT given.owner_id, given.event_id, i.fingerprint FROM ${given(EVENT_ID)}
  CROSS JOIN LATERAL (SELECT i.fingerprint FROM ${usageEventIds} AS i WHERE i.owner_id = given.owner_id AND i.event_id = given.event_id LIMIT 1) AS i`);
const NEW_EVENT_ID: Columns<NewUsage> = {
  ...EVENT_ID,
  fingerprint: ['bytea', (event) => `\\x${event.fingerprint.toString('hex')}`],
};
const INSERT_EVENT_IDS = statement(sql`INSERT INTO ${usageEventIds} (owner_id, event_id, fingerprint, created_at)
  SELECT given.*, ${NOW} FROM ${given(NEW_EVENT_ID)} ORDER BY owner_id, event_id`);

const TOKENS: Columns<Omit<NewUsage, 'occurredAt' | 'eventId' | 'ownerKind' | 'periodStart' | 'holdId' | 'metadata' | 'fingerprint'>> = {
  owner_id: ['uuid', (row) => row.ownerId],
  model: ['text', (row) => row.model],
  actor_user_id: ['uuid', (row) => row.actorUserId],
  input_tokens: ['bigint', (row) => row.inputTokens],
  output_tokens: ['bigint', (row) => row.outputTokens],
  cached_input_tokens: ['bigint', (row) => row.cachedInputTokens],
  reasoning_tokens: ['bigint', (row) => row.reasoningTokens],
  tokens_used: ['bigint', (row) => row.tokensUsed],
  overrun: ['bigint', (row) => row.overrun],
};
const NEW_USAGE: Columns<NewUsage> = {
  ...TOKENS,
  occurred_at: ['timestamptz', (event) => event.occurredAt.toISOString()],
  event_id: ['text', (event) => event.eventId],
  owner_kind: ['owner_kind', (event) => event.ownerKind],
  period_start: ['timestamptz', (event) => event.periodStart.toISOString()],
  hold_id: ['uuid', (event) => event.holdId],
  metadata: ['jsonb', ({ metadata }) => (metadata === null ? null : JSON.stringify(metadata))],
};
const INSERT_USAGE = statement(
  sql`INSERT INTO ${usage} (${namesOf(NEW_USAGE)}, created_at) SELECT given.*, ${NOW} FROM ${given(NEW_USAGE)}`,
);

const COUNTED: Columns<Rollup> = {
  ...TOKENS,
  hour: ['timestamptz', (rollup) => rollup.hour.toISOString()],
  events: ['bigint', (rollup) => rollup.events],
};
const SUMS = Object.keys(COUNTED).filter((name) => COUNTED[name]![0] === 'bigint');
const ADD_TO_ROLLUPS = statement(sql`INSERT INTO ${usageRollups} AS r (${namesOf(COUNTED)})
  SELECT * FROM ${given(COUNTED)} ORDER BY owner_id, hour, model, actor_user_id
  ON CONFLICT (owner_id, hour, model, actor_user_id)
  DO UPDATE SET ${sql.raw(SUMS.map((name) => `${name} = r.${name} + excluded.${name}`).join(', '))}, updated_at = ${NOW}`);

/**
 * The ledger's statements. Each takes as many rows as there are, as one array a column, and takes locks in the order
 * of its key: two transactions never wait for each other.
 */
@Injectable()
export class UsageRepository {
  private readonly creationTimes;

  constructor(@Inject(DATABASE) private readonly db: Database) {
    this.creationTimes = selectCreationTimes(db).prepare('usage_creation_times');
  }

  /** When owners began to be; those that are gone are missing. */
  async listCreationTimes(ownerIds: string[]): Promise<{ id: string; createdAt: Date }[]> {
    return this.creationTimes.execute({ ids: ownerIds });
  }

  /** Which of these people belong, or ever belonged, to these organizations. */
  async listMembers(pairs: MemberKey[]): Promise<MemberKey[]> {
    const { rows } = await sendStatement<{ organization_id: string; user_id: string }>(LIST_MEMBERS(arraysOf(MEMBER, pairs)), this.db);
    return rows.map((row) => ({ organizationId: row.organization_id, userId: row.user_id }));
  }

  /** Makes those that are missing. */
  async insertQuotas(keys: QuotaKey[], db: Queryable = this.db): Promise<void> {
    await sendStatement(INSERT_QUOTAS(arraysOf(NEW_QUOTA, keys)), db);
  }

  /** Other quotas of the same owners that count something, of periods that overlap these. */
  async listOverlapping(keys: QuotaKey[]): Promise<Overlap[]> {
    const { rows } = await sendStatement<{ owner_id: string; new_start: string; period_start: string }>(
      LIST_OVERLAPPING(arraysOf(NEW_QUOTA, keys)),
      this.db,
    );
    return rows.map((row) => ({ ownerId: row.owner_id, to: new Date(row.new_start), from: new Date(row.period_start) }));
  }

  /**
   * Moves what was used and put on hold in a period from another quota, which ends where it begins, into the period's
   * own. Both are locked.
   */
  async moveUsage({ ownerId, from, to }: Overlap, end: Date, db: Queryable): Promise<void> {
    const [fromStart, toStart, toEnd] = [from, to, end].map((time) => sql`${time.toISOString()}::timestamptz`);
    const isIn = (column: string) => sql`${sql.raw(column)} >= ${toStart} AND ${sql.raw(column)} < ${toEnd}`;
    const change = (sign: '+' | '-') =>
      sql.raw(['used', 'overrun', 'held'].map((name) => `${name} = q.${name} ${sign} sums.${name}`).join(', '));
    await db.execute(
      sql`WITH events AS (
            UPDATE ${usage} SET period_start = ${toStart} WHERE owner_id = ${ownerId} AND ${isIn('occurred_at')} AND period_start = ${fromStart}
            RETURNING tokens_used, overrun),
          holds AS (
            UPDATE ${usageHolds} SET period_start = ${toStart} WHERE owner_id = ${ownerId} AND ${isIn('created_at')} AND period_start = ${fromStart}
            RETURNING status, tokens),
          sums AS (
            SELECT coalesce(sum(tokens_used), 0) AS used, coalesce(sum(overrun), 0) AS overrun,
                   (SELECT coalesce(sum(tokens), 0) FROM holds WHERE status = 'live') AS held FROM events),
          given AS (
            UPDATE ${usageQuotas} AS q SET ${change('+')} FROM sums WHERE owner_id = ${ownerId} AND period_start = ${toStart})
          UPDATE ${usageQuotas} AS q SET ${change('-')}, period_end = CASE WHEN period_start < ${toStart} THEN least(period_end, ${toStart}) ELSE period_end END
            FROM sums WHERE owner_id = ${ownerId} AND period_start = ${fromStart}`,
    );
  }

  /** First in a transaction of the ledger. */
  async useKeys(db: Queryable): Promise<void> {
    await sendStatement(USE_KEYS({}), db);
  }

  /** Those that there are. */
  async lockQuotas(keys: QuotaKey[], db: Queryable): Promise<UsageQuota[]> {
    const { rows } = await sendStatement(LOCK_QUOTAS(arraysOf(QUOTA_KEY, keys)), db);
    return rowsOf(usageQuotas, rows);
  }

  async updateQuotas(quotas: UsageQuota[], at: Date, db: Queryable): Promise<void> {
    await sendStatement(UPDATE_QUOTAS({ ...arraysOf(CHANGED_QUOTA, quotas), now: at.toISOString() }), db);
  }

  /** Ends what is past its time of quotas that are locked. */
  async expireHolds(keys: QuotaKey[], at: Date, db: Queryable): Promise<Pick<UsageHold, 'ownerId' | 'periodStart' | 'tokens'>[]> {
    const { rows } = await sendStatement<{ owner_id: string; period_start: string; tokens: string }>(
      EXPIRE_HOLDS({ ...arraysOf(QUOTA_KEY, keys), now: at.toISOString() }),
      db,
    );
    return rows.map((row) => ({ ownerId: row.owner_id, periodStart: new Date(row.period_start), tokens: Number(row.tokens) }));
  }

  async listHolds(keys: HoldKey[], db: Queryable): Promise<UsageHold[]> {
    const { rows } = await sendStatement(LIST_HOLDS(arraysOf(HOLD_KEY, keys)), db);
    return rowsOf(usageHolds, rows);
  }

  async findHold(ownerId: string, id: string): Promise<UsageHold | undefined> {
    const [hold] = await this.listHolds([{ ownerId, id }], this.db);
    return hold;
  }

  async insertHolds(holds: UsageHold[], at: Date, db: Queryable): Promise<void> {
    await sendStatement(INSERT_HOLDS({ ...arraysOf(NEW_HOLD, holds), now: at.toISOString() }), db);
  }

  async endHolds(holds: EndedHold[], at: Date, db: Queryable): Promise<void> {
    await sendStatement(END_HOLDS({ ...arraysOf(ENDED_HOLD, holds), now: at.toISOString() }), db);
  }

  /** Those that were recorded before, with what they said. */
  async listEventIds(keys: EventIdKey[], db: Queryable): Promise<(EventIdKey & { fingerprint: Buffer })[]> {
    const { rows } = await sendStatement<{ owner_id: string; event_id: string; fingerprint: Buffer }>(
      LIST_EVENT_IDS(arraysOf(EVENT_ID, keys)),
      db,
    );
    return rows.map((row) => ({ ownerId: row.owner_id, eventId: row.event_id, fingerprint: row.fingerprint }));
  }

  /** Fails on its key for one that came by way of another period's lock since it was looked for. */
  async insertEventIds(events: NewUsage[], at: Date, db: Queryable): Promise<void> {
    await sendStatement(INSERT_EVENT_IDS({ ...arraysOf(NEW_EVENT_ID, events), now: at.toISOString() }), db);
  }

  async insertUsage(events: NewUsage[], at: Date, db: Queryable): Promise<void> {
    await sendStatement(INSERT_USAGE({ ...arraysOf(NEW_USAGE, events), now: at.toISOString() }), db);
  }

  async addToRollups(rollups: Rollup[], at: Date, db: Queryable): Promise<void> {
    await sendStatement(ADD_TO_ROLLUPS({ ...arraysOf(COUNTED, rollups), now: at.toISOString() }), db);
  }

  /** Answers those that were new. */
  async insertAlerts(alerts: UsageAlert[], db: Queryable): Promise<UsageAlert[]> {
    return db.insert(usageAlerts).values(alerts).onConflictDoNothing().returning();
  }

  /** Those that there are, without holds that are past their end. */
  async listQuotas(
    ownerId: string,
    starts: Date[],
    now: Date,
  ): Promise<{ periodStart: Date; used: number; overrun: number; held: number }[]> {
    const past = sql`SELECT coalesce(sum(tokens), 0) FROM ${usageHolds} AS h
      WHERE h.owner_id = ${usageQuotas.ownerId} AND h.period_start = ${usageQuotas.periodStart} AND h.status = 'live' AND h.expires_at <= ${now.toISOString()}::timestamptz`;
    const rows = await this.db
      .select({
        periodStart: usageQuotas.periodStart,
        used: usageQuotas.used,
        overrun: usageQuotas.overrun,
        held: sql<string>`${usageQuotas.held} - (${past})`,
      })
      .from(usageQuotas)
      .where(and(eq(usageQuotas.ownerId, ownerId), inArray(usageQuotas.periodStart, starts)));
    return rows.map((row) => ({ ...row, held: Number(row.held) }));
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

function selectCreationTimes(db: Database) {
  const of = (table: typeof users | typeof organizations) =>
    db
      .select({ id: table.id, createdAt: table.createdAt })
      .from(table)
      .where(sql`${table.id} = ANY (${sql.placeholder('ids')}::uuid[])`);
  return of(users).unionAll(of(organizations));
}

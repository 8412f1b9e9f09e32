import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, getTableColumns, gte, isNotNull, lt, ne, type Placeholder, type SQL, sql } from 'drizzle-orm';
import { unionAll } from 'drizzle-orm/pg-core';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { arraysOf, type Columns, given, namesOf, queries, sendStatement, sendWrite, statement } from '../platform/database/statement.js';
import { isOneOf } from '../platform/database/statements/lists.js';
import { webhookEvents as events, type WebhookEvent, type WebhookStatus } from './webhook-events.table.js';

export interface WebhookFilters {
  provider?: string;
  type?: string;
  status?: WebhookStatus;
  receivedFrom?: Date;
  receivedBefore?: Date;
}

interface Window {
  limit: number;
  after?: { createdAt: string; id: string };
}

export type ClaimedEvent = Pick<
  WebhookEvent,
  'id' | 'provider' | 'messageId' | 'type' | 'eventAt' | 'body' | 'attempts' | 'receivedAt' | 'traceparent'
>;

export interface Backlog {
  provider: string;
  type: string;
  pending: number;
  dead: number;
  quarantined: number;
  lagSeconds: number;
}

const { body: _, traceparent: _traceparent, ...SUMMARY_COLUMNS } = getTableColumns(events);

export type WebhookEventSummary = Omit<WebhookEvent, 'body' | 'traceparent'>;

const CLAIMED_COLUMNS = {
  id: events.id,
  provider: events.provider,
  messageId: events.messageId,
  type: events.type,
  eventAt: events.eventAt,
  body: events.body,
  attempts: events.attempts,
  receivedAt: events.receivedAt,
  traceparent: events.traceparent,
};

export type ReceivedEvent = Pick<
  WebhookEvent,
  'id' | 'provider' | 'messageId' | 'type' | 'eventAt' | 'status' | 'lastError' | 'traceparent'
> & {
  body: Buffer;
  /** Its first attempt begins right after the commit. */
  isLeased: boolean;
};

const RECEIVED: Columns<ReceivedEvent> = {
  id: ['uuid', ({ id }) => id],
  provider: ['text', ({ provider }) => provider],
  message_id: ['text', ({ messageId }) => messageId],
  type: ['text', ({ type }) => type],
  // As text: in the binary format, times are to the millisecond.
  event_at: ['timestamptz(6)', ({ eventAt }) => eventAt],
  body: ['bytea', ({ body }) => body.toString('hex')],
  status: ['webhook_event_status', ({ status }) => status],
  last_error: ['text', ({ lastError }) => lastError],
  traceparent: ['text', ({ traceparent }) => traceparent],
  attempts: ['integer', ({ isLeased }) => (isLeased ? 1 : 0)],
};

const leaseEnd = (seconds: unknown) => sql`now() + ${seconds}::float8 * interval '1 second'`;

const INSERT = statement(
  sql`INSERT INTO ${events} (${namesOf(RECEIVED)}, leased_until)
      SELECT ${namesOf(RECEIVED)}, CASE WHEN attempts > 0 THEN ${leaseEnd(sql.placeholder('leaseSeconds'))} END FROM ${given(RECEIVED)}
      ON CONFLICT (provider, message_id) DO NOTHING RETURNING id, received_at`,
  'webhook_events_insert',
);

const IS_CURRENT_ATTEMPT = isCurrentAttempt({ id: sql.placeholder('id'), attempts: sql.placeholder('attempts') });
const RELEASE = statement(
  queries
    .update(events)
    .set({ attempts: sql`${events.attempts} - 1`, leasedUntil: null })
    .where(IS_CURRENT_ATTEMPT),
);
const FINISH = statement(
  queries
    .update(events)
    .set({
      status: sql`${sql.placeholder('status')}::webhook_event_status`,
      lastError: sql`${sql.placeholder('lastError')}::text`,
      processedAt: sql`now()`,
      leasedUntil: null,
    })
    .where(IS_CURRENT_ATTEMPT),
);
const MARK_IGNORED = statement(
  queries
    .update(events)
    .set({ status: 'ignored' })
    .where(eq(events.id, sql.placeholder('id'))),
);

type Attempt = Pick<ClaimedEvent, 'id' | 'attempts'>;

@Injectable()
export class WebhooksRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Stores events in one statement and commit. Returns the times of receipt by id, without duplicates. */
  async insert(received: ReceivedEvent[], leaseSeconds: number): Promise<Map<string, Date>> {
    // In one order everywhere, so that concurrent inserts of the same messages cannot deadlock.
    const sorted = received.toSorted((a, b) => (a.messageId < b.messageId ? -1 : 1));
    const { rows } = await sendStatement<{ id: string; received_at: string }>(
      INSERT({ ...arraysOf(RECEIVED, sorted), leaseSeconds }),
      this.db,
    );
    return new Map(rows.map((row) => [row.id, new Date(row.received_at)]));
  }

  /** Leases due events. The attempt counts even if the process dies. */
  async claim(limit: number, leaseSeconds: number, db: Queryable = this.db): Promise<ClaimedEvent[]> {
    const due = sql`SELECT ${events.id} FROM ${events} WHERE ${isDue} ORDER BY ${events.nextAttemptAt} LIMIT ${limit} FOR UPDATE SKIP LOCKED`;
    return db
      .update(events)
      .set({ attempts: sql`${events.attempts} + 1`, leasedUntil: leaseEnd(leaseSeconds) })
      .where(sql`${events.id} IN (${due})`)
      .returning(CLAIMED_COLUMNS);
  }

  async releaseLease({ id, attempts }: Attempt, db: Queryable = this.db): Promise<void> {
    await sendStatement(RELEASE({ id, attempts }), db);
  }

  /** Finishes an attempt in the transaction of its effect. Returns false if another worker has claimed the event since. */
  async finish(
    { id, attempts }: Attempt,
    status: 'processed' | 'ignored' | 'quarantined',
    lastError: string | null,
    db: Queryable = this.db,
  ): Promise<boolean> {
    const { rowCount } = await sendStatement(FINISH({ id, attempts, status, lastError }), db);
    return rowCount === 1;
  }

  async markIgnored(id: string, db: Queryable): Promise<void> {
    await sendWrite(MARK_IGNORED({ id }), db);
  }

  /** @param retryInSeconds null after the last attempt */
  async markFailed({ id, attempts }: Attempt, lastError: string, retryInSeconds: number | null, db: Queryable = this.db): Promise<void> {
    const next =
      retryInSeconds === null ? { status: 'dead' as const } : { nextAttemptAt: sql`now() + ${retryInSeconds} * interval '1 second'` };
    await db
      .update(events)
      .set({ lastError, leasedUntil: null, ...next })
      .where(isCurrentAttempt({ id, attempts }));
  }

  async list(filters: WebhookFilters, page: Window, db: Queryable = this.db): Promise<WebhookEventSummary[]> {
    const { provider, type } = filters;
    // One query for each provider: an index returns the events of one provider and type in order.
    const providers = type !== undefined && provider === undefined ? await this.listProviders(db) : [provider];
    const [first, second, ...others] = providers.map((one) => selectPage({ ...filters, provider: one }, page, db));
    if (second === undefined) return first ?? [];
    return unionAll(first!, second, ...others)
      .orderBy(...NEWEST_FIRST)
      .limit(page.limit);
  }

  /** Of stored events. Reads one index entry for each provider, unlike DISTINCT. */
  private async listProviders(db: Queryable): Promise<string[]> {
    const { rows } = await db.execute<{ provider: string }>(sql`
      WITH RECURSIVE found (provider) AS (
        SELECT min(provider) FROM ${events}
        UNION ALL SELECT (SELECT min(provider) FROM ${events} WHERE provider > found.provider) FROM found WHERE found.provider IS NOT NULL
      )
      SELECT provider FROM found WHERE provider IS NOT NULL`);
    return rows.map(({ provider }) => provider);
  }

  async find(id: string, db: Queryable = this.db): Promise<WebhookEvent | undefined> {
    const [event] = await db.select().from(events).where(eq(events.id, id));
    return event;
  }

  async lock(id: string, db: Queryable): Promise<WebhookEvent | undefined> {
    const [event] = await db.select().from(events).where(eq(events.id, id)).for('update');
    return event;
  }

  /** Makes events due again with all their attempts. Events without a body are skipped. */
  async requeue(ids: string[], db: Queryable): Promise<WebhookEventSummary[]> {
    return db
      .update(events)
      .set({ status: 'pending', attempts: 0, nextAttemptAt: sql`now()`, leasedUntil: null, processedAt: null })
      .where(and(isOneOf(events.id, ids), isNotNull(events.body)))
      .returning(SUMMARY_COLUMNS);
  }

  /** Locks the next events to replay after a position, oldest first. */
  async lockToReplay(
    filters: WebhookFilters,
    { limit, after, until }: { limit: number; after?: { receivedAt: Date; id: string }; until: Date },
    db: Queryable,
  ): Promise<{ id: string; receivedAt: Date }[]> {
    const isOfAnyProvider = filters.type !== undefined && filters.provider === undefined;
    return db
      .select({ id: events.id, receivedAt: events.receivedAt })
      .from(events)
      .where(
        and(
          matchesFilters(filters),
          isOfAnyProvider ? isOneOf(events.provider, await this.listProviders(db)) : undefined,
          ne(events.status, 'pending'),
          isNotNull(events.body),
          lt(events.receivedAt, until),
          after && sql`(${events.receivedAt}, ${events.id}) > (${after.receivedAt.toISOString()}::timestamptz, ${after.id}::uuid)`,
        ),
      )
      .orderBy(events.receivedAt, events.id)
      .limit(limit)
      .for('update');
  }

  async deleteBodies(receivedBefore: Date, limit: number, db: Queryable = this.db): Promise<number> {
    const old = db
      .select({ id: events.id })
      .from(events)
      .where(and(isNotNull(events.body), sql`${events.status} IN ('processed', 'ignored')`, lt(events.receivedAt, receivedBefore)))
      .limit(limit)
      .for('update', { skipLocked: true });
    const { rowCount } = await db
      .update(events)
      .set({ body: null })
      .where(sql`${events.id} IN (${old})`);
    return rowCount ?? 0;
  }

  async backlog(db: Queryable = this.db): Promise<Backlog[]> {
    const { rows } = await db.execute<Omit<Backlog, 'lagSeconds'> & { lag_seconds: number }>(sql`
      SELECT provider, type, count(*) FILTER (WHERE status = 'pending')::int AS pending, count(*) FILTER (WHERE status = 'dead')::int AS dead,
             count(*) FILTER (WHERE status = 'quarantined')::int AS quarantined,
             coalesce(greatest(0, extract(epoch FROM now() - min(due_at))), 0)::float8 AS lag_seconds
        FROM (SELECT provider, type, status, next_attempt_at AS due_at FROM ${events} WHERE status = 'pending'
              UNION ALL SELECT provider, type, status, NULL FROM ${events} WHERE status IN ('dead', 'quarantined')) waiting
       GROUP BY provider, type`);
    return rows.map(({ lag_seconds: lagSeconds, ...row }) => ({ ...row, lagSeconds }));
  }

  async lockUnderOlderKeys(keyId: string, limit: number, db: Queryable): Promise<{ id: string; body: Buffer | null }[]> {
    const prefix = Buffer.from(`${keyId}.`);
    return db
      .select({ id: events.id, body: events.body })
      .from(events)
      .where(and(isNotNull(events.body), sql`substring(${events.body} FROM 1 FOR ${prefix.length}) <> ${prefix}`))
      .limit(limit)
      .for('update');
  }

  async updateBody(id: string, body: Buffer, db: Queryable): Promise<void> {
    await db.update(events).set({ body }).where(eq(events.id, id));
  }
}

const NEWEST_FIRST = [desc(events.receivedAt), desc(events.id)];

function selectPage(filters: WebhookFilters, { limit, after }: Window, db: Queryable) {
  const isAfter = after && sql`(${events.receivedAt}, ${events.id}) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`;
  return db
    .select(SUMMARY_COLUMNS)
    .from(events)
    .where(and(matchesFilters(filters), isAfter))
    .orderBy(...NEWEST_FIRST)
    .limit(limit);
}

const isDue = sql`${events.status} = 'pending' AND ${events.nextAttemptAt} <= now() AND (${events.leasedUntil} IS NULL OR ${events.leasedUntil} <= now())`;

/** A worker that lost its lease must not overwrite a later attempt. */
function isCurrentAttempt({ id, attempts }: { id: string | Placeholder; attempts: number | Placeholder }): SQL | undefined {
  return and(eq(events.id, id), eq(events.status, 'pending'), eq(events.attempts, attempts));
}

function matchesFilters({ provider, type, status, receivedFrom, receivedBefore }: WebhookFilters): SQL | undefined {
  return and(
    provider === undefined ? undefined : eq(events.provider, provider),
    type === undefined ? undefined : eq(events.type, type),
    status === undefined ? undefined : eq(events.status, status),
    receivedFrom && gte(events.receivedAt, receivedFrom),
    receivedBefore && lt(events.receivedAt, receivedBefore),
  );
}

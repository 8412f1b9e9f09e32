import { Injectable } from '@nestjs/common';
import { sql } from 'drizzle-orm';
import type { Queryable } from '../../platform/database/database.js';
import { arraysOf, type Columns, given, namesOf, NOW, sendStatement, statement } from '../../platform/database/statement.js';
import type { Fingerprint } from './usage-fingerprint.js';
import { usageEventIds } from './usage-event-ids.table.js';
import { type EventIdKey, type NewUsageRecord, usage } from './usage-events.table.js';

const EVENT_ID: Columns<EventIdKey> = { owner_id: ['uuid', (event) => event.ownerId], event_id: ['text', (event) => event.eventId] };
const LIST_EVENT_IDS = statement(sql`SELECT given.owner_id, given.event_id, i.fingerprint FROM ${given(EVENT_ID)}
  CROSS JOIN LATERAL (SELECT i.fingerprint FROM ${usageEventIds} AS i WHERE i.owner_id = given.owner_id AND i.event_id = given.event_id LIMIT 1) AS i`);
const NEW_EVENT_ID: Columns<NewUsageRecord> = {
  ...EVENT_ID,
  fingerprint: ['bytea', (event) => event.fingerprint],
};
const INSERT_EVENT_IDS = statement(sql`INSERT INTO ${usageEventIds} (owner_id, event_id, fingerprint, created_at)
  SELECT given.*, ${NOW} FROM ${given(NEW_EVENT_ID)} ORDER BY owner_id, event_id`);

const NEW_RECORD: Columns<NewUsageRecord> = {
  owner_id: ['uuid', (event) => event.ownerId],
  model: ['text', (event) => event.model],
  actor_user_id: ['uuid', (event) => event.actorUserId],
  input_tokens: ['bigint', (event) => event.inputTokens],
  output_tokens: ['bigint', (event) => event.outputTokens],
  cached_input_tokens: ['bigint', (event) => event.cachedInputTokens],
  reasoning_tokens: ['bigint', (event) => event.reasoningTokens],
  tokens_used: ['bigint', (event) => event.tokensUsed],
  overrun: ['bigint', (event) => event.overrun],
  occurred_at: ['timestamptz', (event) => event.occurredAt.getTime()],
  event_id: ['text', (event) => event.eventId],
  owner_kind: ['owner_kind', (event) => event.ownerKind],
  period_start: ['timestamptz', (event) => event.periodStart.getTime()],
  hold_id: ['uuid', (event) => event.holdId],
  metadata: ['jsonb', ({ metadata }) => (metadata === null ? null : JSON.stringify(metadata))],
};
const INSERT_RECORDS = statement(
  sql`INSERT INTO ${usage} (${namesOf(NEW_RECORD)}, created_at) SELECT given.*, ${NOW} FROM ${given(NEW_RECORD)}`,
);

@Injectable()
export class UsageEventsRepository {
  /** Returns the events that were recorded before, with their fingerprints. */
  async listRecorded(keys: EventIdKey[], db: Queryable): Promise<(EventIdKey & { fingerprint: Fingerprint })[]> {
    const { rows } = await sendStatement<{ owner_id: string; event_id: string; fingerprint: Buffer }>(
      LIST_EVENT_IDS(arraysOf(EVENT_ID, keys)),
      db,
    );
    return rows.map((row) => ({ ownerId: row.owner_id, eventId: row.event_id, fingerprint: row.fingerprint.toString('hex') }));
  }

  /** Violates its key for an event that a transaction of another period has recorded since `listRecorded`. */
  async insertIds(events: NewUsageRecord[], at: Date, db: Queryable): Promise<void> {
    await sendStatement(INSERT_EVENT_IDS({ ...arraysOf(NEW_EVENT_ID, events), now: at.toISOString() }), db);
  }

  async insertRecords(events: NewUsageRecord[], at: Date, db: Queryable): Promise<void> {
    await sendStatement(INSERT_RECORDS({ ...arraysOf(NEW_RECORD, events), now: at.toISOString() }), db);
  }
}

import { v7 } from 'uuid';
import type { Owner } from '../../../src/owners/owner.js';
import type { TestDatabase } from '../database.js';

/** A usage event; omitted token classes are zero. */
export interface UsageEvent {
  eventId: string;
  occurredAt: string;
  model: string;
  actorUserId: string | null;
  inputTokens: number;
  outputTokens: number;
  cachedInputTokens: number;
  reasoningTokens: number;
  /** The sum of the classes, or a plain total without classes. */
  tokensUsed: number;
  overrun: number;
  metadata: Record<string, string | number | boolean> | null;
}

export type GivenUsage = Partial<UsageEvent> & { occurredAt: string };

/** Writes events into the tables, with their ids and hourly rollups, but without quotas. */
export async function insertUsage(db: TestDatabase, owner: Owner, given: GivenUsage[]): Promise<UsageEvent[]> {
  const events = given.map(eventOf);
  await createPartitions(
    db,
    events.map(({ occurredAt }) => occurredAt),
  );
  await db.rows(INSERT, [owner.id, owner.kind, JSON.stringify(events)]);
  return events;
}

/** Creates the partitions of these times, named as the application names them. */
export async function createPartitions(db: TestDatabase, moments: string[]): Promise<void> {
  const months = new Set(moments.map((moment) => new Date(moment).toISOString().slice(0, 7)));
  for (const month of months) {
    const next = new Date(`${month}-01`);
    next.setUTCMonth(next.getUTCMonth() + 1);
    // One at a time: IF NOT EXISTS does not see a concurrent CREATE.
    await db.rows(
      `SELECT pg_advisory_xact_lock(hashtext('usage partitions'));
       CREATE TABLE IF NOT EXISTS usage_${month.replace('-', '_')} PARTITION OF usage FOR VALUES FROM ('${month}-01Z') TO ('${next.toISOString()}')`,
    );
  }
}

function eventOf(given: GivenUsage): UsageEvent {
  const { inputTokens = 0, outputTokens = 0, cachedInputTokens = 0, reasoningTokens = 0 } = given;
  return {
    eventId: `event-${v7()}`,
    model: 'a-model',
    actorUserId: null,
    tokensUsed: inputTokens + outputTokens + cachedInputTokens + reasoningTokens,
    overrun: 0,
    metadata: null,
    ...given,
    inputTokens,
    outputTokens,
    cachedInputTokens,
    reasoningTokens,
  };
}

const SUMS = ['input_tokens', 'output_tokens', 'cached_input_tokens', 'reasoning_tokens', 'tokens_used', 'overrun'];

const INSERT = `
  WITH given AS (
    SELECT "eventId" AS event_id, "occurredAt" AS occurred_at, model, "actorUserId" AS actor_user_id, "inputTokens" AS input_tokens,
           "outputTokens" AS output_tokens, "cachedInputTokens" AS cached_input_tokens, "reasoningTokens" AS reasoning_tokens,
           "tokensUsed" AS tokens_used, overrun, metadata
      FROM jsonb_to_recordset($3) AS event (
        "eventId" text, "occurredAt" timestamptz(3), model text, "actorUserId" uuid, "inputTokens" bigint, "outputTokens" bigint,
        "cachedInputTokens" bigint, "reasoningTokens" bigint, "tokensUsed" bigint, overrun bigint, metadata jsonb
      )
  ), ids AS (
    INSERT INTO usage_event_ids (owner_id, event_id, fingerprint) SELECT $1::uuid, event_id, '' FROM given
  ), rollups AS (
    INSERT INTO usage_rollups AS r (owner_id, hour, model, actor_user_id, events, ${SUMS.join(', ')})
    SELECT $1::uuid, date_trunc('hour', occurred_at, 'UTC'), model, actor_user_id, count(*), ${SUMS.map((name) => `sum(${name})`).join(', ')}
      FROM given GROUP BY 2, 3, 4
    ON CONFLICT ON CONSTRAINT usage_rollups_key DO UPDATE
      SET ${['events', ...SUMS].map((name) => `${name} = r.${name} + excluded.${name}`).join(', ')}
  )
  INSERT INTO usage (owner_id, owner_kind, event_id, occurred_at, model, actor_user_id, ${SUMS.join(', ')}, metadata, period_start)
  SELECT $1::uuid, $2::owner_kind, event_id, occurred_at, model, actor_user_id, ${SUMS.join(', ')}, NULLIF(metadata, 'null'), date_trunc('month', occurred_at, 'UTC')
    FROM given`;

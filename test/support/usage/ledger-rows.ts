import { v7 } from 'uuid';
import type { TestDatabase } from '../database.js';

export interface UsageEventRow {
  ownerId: string;
  ownerKind?: 'user' | 'organization';
  eventId?: string;
  occurredAt: string;
  periodStart: string;
  model?: string;
  actorUserId?: string | null;
  inputTokens?: number;
  outputTokens?: number;
  cachedInputTokens?: number;
  reasoningTokens?: number;
  /** Default: the sum of the classes. */
  tokensUsed?: number;
  overrun?: number;
}

/** Writes events with their quotas, ids and rollups in one transaction, as the ledger does. */
export async function insertLedgerUsage(db: TestDatabase, events: UsageEventRow[]): Promise<void> {
  const rows = events.map((event) => {
    const { inputTokens = 0, outputTokens = 0, cachedInputTokens = 0, reasoningTokens = 0, overrun = 0 } = event;
    return {
      owner_id: event.ownerId,
      owner_kind: event.ownerKind ?? 'organization',
      event_id: event.eventId ?? v7(),
      occurred_at: event.occurredAt,
      period_start: event.periodStart,
      model: event.model ?? 'gpt-5',
      actor_user_id: event.actorUserId,
      input_tokens: inputTokens,
      output_tokens: outputTokens,
      cached_input_tokens: cachedInputTokens,
      overrun,
      reasoning_tokens: reasoningTokens,
      tokens_used: event.tokensUsed ?? inputTokens + outputTokens + cachedInputTokens + reasoningTokens,
    };
  });
  const client = await db.pool.connect();
  try {
    await client.query('BEGIN');
    for (const statement of [ADD_TO_QUOTAS, INSERT_IDS, INSERT_EVENTS, ADD_TO_ROLLUPS])
      await client.query(statement, [JSON.stringify(rows)]);
    await client.query('COMMIT');
    client.release();
  } catch (error) {
    client.release(true);
    throw error;
  }
}

const GIVEN = 'FROM jsonb_populate_recordset(NULL::usage, $1)';
const CLASSES = ['input_tokens', 'output_tokens', 'cached_input_tokens', 'reasoning_tokens', 'tokens_used', 'overrun'];

const ADD_TO_QUOTAS = `
  INSERT INTO usage_quotas AS q (owner_id, period_start, period_end, owner_kind, used, overrun)
  SELECT owner_id, period_start, (period_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC', owner_kind, sum(tokens_used), sum(overrun)
    ${GIVEN} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2
  ON CONFLICT (owner_id, period_start) DO UPDATE SET used = q.used + excluded.used, overrun = q.overrun + excluded.overrun`;

const INSERT_IDS = `INSERT INTO usage_event_ids (owner_id, event_id, fingerprint) SELECT owner_id, event_id, decode(md5(event_id), 'hex') ${GIVEN} ORDER BY 1, 2`;

const COLUMNS = `owner_id, occurred_at, event_id, owner_kind, actor_user_id, model, ${CLASSES.join(', ')}, period_start`;
const INSERT_EVENTS = `INSERT INTO usage (${COLUMNS}) SELECT ${COLUMNS} ${GIVEN}`;

const ADD_TO_ROLLUPS = `
  INSERT INTO usage_rollups AS r (owner_id, hour, model, actor_user_id, events, ${CLASSES.join(', ')})
  SELECT owner_id, date_trunc('hour', occurred_at, 'UTC'), model, actor_user_id, count(*), ${CLASSES.map((name) => `sum(${name})`).join(', ')}
    ${GIVEN} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
  ON CONFLICT (owner_id, hour, model, actor_user_id) DO UPDATE SET events = r.events + excluded.events,
    ${CLASSES.map((name) => `${name} = r.${name} + excluded.${name}`).join(', ')}`;

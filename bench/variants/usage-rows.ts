import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { BATCH, eventOf } from '../support/usage-events.js';
import { tenantOf } from '../support/seed.js';
import { given, offer } from '../support/variant.js';

// The minimum of a batch: its rows in one statement, without checks, lookups and sums.
const { databaseUrl, tables } = given() as { databaseUrl: string; tables: 'events' | 'eventsAndIds' };
const pool = new pg.Pool({ connectionString: databaseUrl, max: 10 });

const USAGE = `INSERT INTO usage (owner_id, occurred_at, event_id, owner_kind, actor_user_id, model,
    input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, tokens_used, overrun, period_start, hold_id, metadata, created_at)
  SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::owner_kind[], $5::uuid[], $6::text[],
    $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::timestamptz[], $14::uuid[], $15::jsonb[], $16::timestamptz[])`;
const IDS = `WITH given AS (SELECT * FROM unnest($1::uuid[], $3::text[], $17::bytea[], $16::timestamptz[]) AS given (owner_id, event_id, fingerprint, created_at)),
  ids AS (INSERT INTO usage_event_ids (owner_id, event_id, fingerprint, created_at) SELECT * FROM given)
  ${USAGE}`;

const insert = async (turn: number) => {
  // Not for the last tenants, because their events must match their rollups.
  const owner = tenantOf(turn % 1000);
  const now = new Date().toISOString();
  const events = Array.from({ length: BATCH }, eventOf);
  const same = (value: unknown) => events.map(() => value);
  const sums = events.map(({ inputTokens, outputTokens }) => inputTokens + outputTokens);
  const values = [
    same(owner),
    same(now),
    events.map(({ eventId }) => eventId),
    same('organization'),
    same(owner),
    events.map(({ model }) => model),
    events.map(({ inputTokens }) => inputTokens),
    events.map(({ outputTokens }) => outputTokens),
    same(0),
    same(0),
    sums,
    same(0),
    same(now),
    same(null),
    same(null),
    same(now),
  ];
  if (tables === 'events') return pool.query({ name: 'usage', text: USAGE, values });
  return pool.query({ name: 'ids', text: IDS, values: [...values, same(`\\x${randomUUID().replaceAll('-', '')}`)] });
};

await insert(0);
offer(insert);

import type { TestDatabase } from '../database.js';

const SUMS = ['input_tokens', 'output_tokens', 'cached_input_tokens', 'reasoning_tokens', 'tokens_used', 'overrun'];

/** Every sum must equal the sum of its events and live holds. */
const COMPARISONS = {
  quotas: `
    WITH events AS (
      SELECT owner_id, period_start, sum(tokens_used) AS used, sum(overrun) AS overrun FROM usage GROUP BY 1, 2
    ), holds AS (
      SELECT owner_id, period_start, sum(tokens) AS held FROM usage_holds WHERE status = 'live' GROUP BY 1, 2
    )
    SELECT owner_id, period_start, q.used, q.overrun, q.held, e.used AS events_used, e.overrun AS events_overrun, h.held AS holds_held
    FROM usage_quotas q FULL JOIN events e USING (owner_id, period_start) FULL JOIN holds h USING (owner_id, period_start)
    WHERE (q.used, q.overrun, q.held) IS DISTINCT FROM (coalesce(e.used, 0), coalesce(e.overrun, 0), coalesce(h.held, 0))`,
  rollups: `
    WITH hours AS (
      SELECT owner_id, date_trunc('hour', occurred_at, 'UTC') AS hour, model, coalesce(actor_user_id::text, 'nobody') AS actor, count(*) AS events,
        ARRAY[sum(input_tokens), sum(output_tokens), sum(cached_input_tokens), sum(reasoning_tokens), sum(tokens_used), sum(overrun)] AS sums
      FROM usage GROUP BY 1, 2, 3, 4
    ), rollups AS (
      SELECT owner_id, hour, model, coalesce(actor_user_id::text, 'nobody') AS actor, events,
        ARRAY[input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, tokens_used, overrun]::numeric[] AS sums
      FROM usage_rollups
    )
    SELECT owner_id, hour, model, actor, r.events, r.sums, h.events AS real_events, h.sums AS real_sums
    FROM hours h FULL JOIN rollups r USING (owner_id, hour, model, actor) WHERE (r.events, r.sums) IS DISTINCT FROM (h.events, h.sums)`,
  'rollups by model': `
    SELECT r.*, m.* FROM (SELECT owner_id, hour, model, sum(events) AS events, ARRAY[${SUMS.map((name) => `sum(${name})`).join(', ')}] AS sums FROM usage_rollups GROUP BY 1, 2, 3) r
    FULL JOIN usage_model_rollups m USING (owner_id, hour, model) WHERE (r.events, r.sums) IS DISTINCT FROM (m.events, ARRAY[${SUMS.map((name) => `m.${name}`).join(', ')}]::numeric[])`,
  'rollups by month': `
    SELECT r.*, m.* FROM (
      SELECT owner_id, date_trunc('month', hour, 'UTC') AS month, model, coalesce(actor_user_id::text, 'nobody') AS actor, sum(events) AS events, ARRAY[${SUMS.map((name) => `sum(${name})`).join(', ')}] AS sums
        FROM usage_rollups GROUP BY 1, 2, 3, 4
    ) r FULL JOIN (SELECT *, coalesce(actor_user_id::text, 'nobody') AS actor FROM usage_month_rollups) m USING (owner_id, month, model, actor)
    WHERE (r.events, r.sums) IS DISTINCT FROM (m.events, ARRAY[${SUMS.map((name) => `m.${name}`).join(', ')}]::numeric[])`,
  'ids of events': `
    SELECT owner_id, event_id, count(u.owner_id) AS events, count(i.owner_id) AS ids
    FROM usage u FULL JOIN usage_event_ids i USING (owner_id, event_id) GROUP BY 1, 2 HAVING count(u.owner_id) <> 1 OR count(i.owner_id) <> 1`,
  'settled holds': `
    SELECT h.owner_id, h.id, h.event_id, u.owner_id, u.hold_id, u.event_id
    FROM (SELECT * FROM usage WHERE hold_id IS NOT NULL) u FULL JOIN (SELECT * FROM usage_holds WHERE status = 'settled') h
      ON h.owner_id = u.owner_id AND h.id = u.hold_id AND h.event_id = u.event_id
    WHERE h.id IS NULL OR u.event_id IS NULL`,
  // A hold that had ended, or belongs to another period, reserved nothing.
  overrun: `
    SELECT u.owner_id, u.event_id, u.tokens_used, u.overrun, h.tokens, u.period_start, h.period_start
    FROM usage u LEFT JOIN usage_holds h ON h.owner_id = u.owner_id AND h.id = u.hold_id
    WHERE NOT CASE WHEN h.id IS NULL THEN u.overrun = 0 WHEN h.period_start = u.period_start
      THEN u.overrun IN (greatest(0, u.tokens_used - h.tokens), u.tokens_used) ELSE u.overrun = u.tokens_used END`,
};

/** The sums that do not equal their events; a correct ledger has none. */
export async function ledgerMismatches(db: TestDatabase): Promise<string[]> {
  const found = await Promise.all(
    Object.entries(COMPARISONS).map(async ([name, query]) => (await db.rows(query)).map((row) => `${name}: ${JSON.stringify(row)}`)),
  );
  return found.flat();
}

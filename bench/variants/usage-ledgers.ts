import pg from 'pg';
import { eventsIn, type AttributedEvent, type Operation, type OperationResult } from '../../src/usage/ledger/operations.js';
import { UsageLedger } from '../../src/usage/ledger/usage-ledger.service.js';

// Loaded before dist/main.js: the real program with another ledger.
const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 16 });

const INSERT = `INSERT INTO usage (owner_id, occurred_at, event_id, owner_kind, actor_user_id, model, input_tokens, output_tokens, tokens_used, period_start)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, date_trunc('month', now()))`;
const COUNT = `INSERT INTO usage_quotas AS q (owner_id, period_start, period_end, owner_kind, used)
  VALUES ($1, date_trunc('month', now()), now(), $2, $3) ON CONFLICT (owner_id, period_start) DO UPDATE SET used = q.used + excluded.used
  WHERE q.used + excluded.used < 1e15`;

type Record = (owner: Operation['owner'], event: AttributedEvent) => Promise<unknown>;

const ledgers: { [name: string]: Record } = {
  /** Stores nothing. */
  none: async () => undefined,
  /** One insert and commit for each event, without lookups, sums and limits. */
  insert: ({ id, kind }, { occurredAt, eventId, actorUserId, model, inputTokens, outputTokens, tokensUsed }) => {
    const values = [id, occurredAt, eventId, kind, actorUserId, model, inputTokens, outputTokens, tokensUsed];
    return pool.query({ name: 'insert', text: INSERT, values });
  },
  /** A cap as one counter that each event increments in its own commit. */
  counter: ({ id, kind }, { tokensUsed }) => pool.query({ name: 'count', text: COUNT, values: [id, kind, tokensUsed] }),
};

const record = ledgers[process.env['LEDGER']!]!;
const quota = {
  used: 0,
  asOf: new Date(0),
  carried: 0,
  overrun: 0,
  held: 0,
  limit: 1e15,
  isHard: true,
  remaining: 1e15,
  start: new Date(),
  end: new Date(),
};

UsageLedger.prototype.submit = async (operation): Promise<OperationResult> => {
  const events = eventsIn(operation);
  await Promise.all(events.map((event) => record(operation.owner, event)));
  return { quota, events: events.map(({ eventId }) => ({ eventId, outcome: 'inserted' })) };
};

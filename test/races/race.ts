import type { TestDatabase } from '../support/database.js';
import type { Effects } from './effects.js';
import type { Order, Side } from './explore.js';
import { type Arrival, Lane } from './lane.js';

const WAITING = {
  name: 'races_waiting',
  text: `SELECT count(DISTINCT pid)::int AS count FROM pg_locks JOIN pg_stat_activity USING (pid)
          WHERE NOT granted AND datname = current_database()`,
};

/** One of the two operations of a race. */
class Racer extends Lane {
  /** The statement that was sent and has no result yet. */
  sent?: Promise<void>;
  /** What the open transactions have locked and changed. */
  private readonly transactions = new Map<object, Effects>();

  constructor(
    readonly side: Side,
    private readonly effects: (text: string) => Promise<Effects>,
  ) {
    super();
  }

  get hasTransaction(): boolean {
    return this.transactions.size > 0;
  }

  async send(order: Order<Effects>): Promise<void> {
    const arrival = this.arrivals.shift()!;
    const effects = await this.effectsOf(arrival);
    order.sent(arrival.text, effects);
    this.sent = this.settle(arrival, effects);
  }

  private async settle({ transaction, send }: Arrival, effects: Effects): Promise<void> {
    const isDone = await send();
    this.sent = undefined;
    // PostgreSQL frees the locks of a transaction as soon as one of its statements fails.
    const all = transaction && this.transactions.get(transaction);
    if (!isDone && all !== undefined) effects.locks.push(...all.locks);
  }

  private async effectsOf({ text, transaction }: Arrival): Promise<Effects> {
    if (transaction === undefined) return this.effects(text);
    const all = this.transactions.get(transaction) ?? { reads: [], keyLocks: [], locks: [], publishes: [] };
    this.transactions.set(transaction, all);
    if (text.startsWith('begin')) return { reads: [], keyLocks: [], locks: [], publishes: [] };
    if (text === 'commit' || text === 'rollback') {
      this.transactions.delete(transaction);
      return { ...all, reads: [], publishes: text === 'commit' ? all.publishes : [] };
    }
    const { reads, keyLocks, locks, publishes } = await this.effects(text);
    all.keyLocks.push(...keyLocks);
    all.locks.push(...locks);
    all.publishes.push(...publishes);
    return { reads, keyLocks, locks: [...locks], publishes: [] };
  }
}

/** Runs two operations at the same time, one statement after the other, in the given order. */
export async function race<T>(
  operations: readonly [(lane: Lane) => Promise<T>, (lane: Lane) => Promise<T>],
  { db, effects, order }: { db: TestDatabase; effects: (text: string) => Promise<Effects>; order: Order<Effects> },
): Promise<[T, T]> {
  const racers = [new Racer(0, effects), new Racer(1, effects)] as const;
  const results = Promise.all([racers[0].start(operations[0]), racers[1].start(operations[1])]);
  try {
    while (await step(racers, order, db));
  } finally {
    for (const racer of racers) racer.letGo();
    await results.catch(() => undefined);
  }
  return results;
}

/** Sends the next statement. Returns false when both operations are over. */
async function step(racers: readonly [Racer, Racer], order: Order<Effects>, db: TestDatabase): Promise<boolean> {
  for (const racer of racers) if (racer.sent === undefined) await racer.isReady();
  const ready = racers.filter(({ sent, arrivals }) => sent === undefined && arrivals.length > 0);
  if (ready.length === 0) return false;
  const racer = racers[order.next(ready.map(({ side }) => side))];
  const other = racers[racer.side === 0 ? 1 : 0];
  const wasWaiting = other.sent !== undefined;
  await racer.send(order);
  await settle(racer, other, db);
  if (wasWaiting && racer.sent === undefined) await settle(other, racer, db);
  if (wasWaiting && other.sent === undefined) order.woken(other.side);
  return true;
}

/** Returns when the statement of one operation has a result, or waits for a lock of the other. */
async function settle(racer: Racer, other: Racer, { pool }: TestDatabase): Promise<void> {
  while (racer.sent !== undefined) {
    if (!other.hasTransaction) {
      await racer.sent;
      return;
    }
    const { rows } = await pool.query<{ count: number }>(WAITING);
    const unsettled = [racer, other].filter(({ sent }) => sent !== undefined);
    if (rows[0]!.count < unsettled.length) continue;
    if (unsettled.length < 2) return;
    // Each waits for the other: PostgreSQL ends one of them.
    await Promise.race(unsettled.flatMap(({ sent }) => sent ?? []));
  }
}

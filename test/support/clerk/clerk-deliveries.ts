import { setTimeout as sleep } from 'node:timers/promises';
import type { HistoryEvent } from '../../simulators/clerk-instance.js';
import { deliver, type Signing } from './clerk-events.js';
import type { TestDatabase } from '../database.js';
import { until } from '../until.js';

/** Where deliveries go, and how patient they are. */
export interface Target {
  db: TestDatabase;
  /** Servers over that database; deliveries alternate. */
  urls: () => string[];
  /** Whether an effect may fail at first: something is broken on purpose, killed or cut off. */
  mayFail?: boolean;
}

/** One message, as often as it is sent. */
export type Message = Pick<HistoryEvent, 'messageId' | 'body'> & { provider?: Signing['provider'] };

/** Delivers what others hold back: many at a time, each again until it is taken, as their senders do. */
export async function pour({ urls }: Target, events: Message[], callers = 16): Promise<void> {
  const queue = events.entries();
  const caller = async () => {
    for (const [index, event] of queue) await deliverUntilTaken(urls, event, index);
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

async function deliverUntilTaken(urls: () => string[], { messageId, body, provider }: Message, index: number): Promise<void> {
  for (let attempt = index, tries = 0; ; attempt += 1, tries += 1) {
    const servers = urls();
    try {
      const { status, body: answer } = await deliver(servers[attempt % servers.length]!, body, { id: messageId, provider });
      if (status === 202) return;
      if (status !== 503 || tries > 500) throw new Refused(`${status} ${JSON.stringify(answer)}`);
    } catch (error) {
      // Nobody listens, or the connection was cut: the sender tries again.
      if (error instanceof Refused || tries > 500) throw error;
    }
    await sleep(20);
  }
}

class Refused extends Error {}

/** Each history in the order in which it happened, one event after the other; all histories side by side. */
export async function deliverInTurn(target: Target, histories: { events: Message[] }[]): Promise<void> {
  const rounds = Math.max(...histories.map(({ events }) => events.length));
  for (let round = 0; round < rounds; round += 1) {
    await pour(
      target,
      histories.flatMap(({ events }) => events.slice(round, round + 1)),
    );
    await settled(target);
  }
}

/**
 * Waits until every event that was delivered has had its effect. One that fails at first and would work later fails
 * this, unless the target says that it may: then it is tried again at once.
 */
export async function settled({ db, mayFail = false }: Target, withinMs = 120_000): Promise<void> {
  const failed = `status = 'pending' AND attempts > 0 AND leased_until IS NULL AND next_attempt_at > now() AND last_error IS NOT NULL`;
  const errors = async (which: string) =>
    JSON.stringify(await db.rows(`SELECT type, attempts, last_error FROM webhook_events WHERE ${which} LIMIT 5`));
  const isSettled = async () => {
    const [row] = await db.rows<{ open: number; failed: number }>(
      `SELECT count(*)::int AS open, count(*) FILTER (WHERE ${failed})::int AS failed FROM webhook_events WHERE status = 'pending'`,
    );
    if (row!.failed > 0) {
      if (!mayFail) throw new Error(`Effects failed: ${await errors(failed)}`);
      await db.rows(`UPDATE webhook_events SET next_attempt_at = now() WHERE ${failed}`);
    }
    return row!.open === 0;
  };
  await until(isSettled, async () => `events wait: ${await errors(`status = 'pending'`)}`, withinMs);
}

/** What was given up or could not be read: there must be none. */
export async function givenUp({ db }: Target): Promise<object[]> {
  return db.rows(`SELECT type, status, attempts, last_error FROM webhook_events WHERE status IN ('dead', 'quarantined') LIMIT 5`);
}

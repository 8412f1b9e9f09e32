import { setTimeout as sleep } from 'node:timers/promises';
import type { HistoryEvent } from '../simulators/clerk-instance.js';
import { deliver, type Signing } from './clerk-events.js';
import type { TestDatabase } from './database.js';

/** Where deliveries go, and how patient they are. */
export interface Target {
  db: TestDatabase;
  /** Servers over that database; deliveries alternate. */
  urls: () => string[];
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

/** Waits until every event that was delivered has had its effect. What failed is tried again at once. */
export async function settled({ db }: Target, withinMs = 120_000): Promise<void> {
  for (const deadline = Date.now() + withinMs; ;) {
    const [row] = await db.rows<{ open: number; failing: number }>(
      `SELECT count(*)::int AS open, count(*) FILTER (WHERE next_attempt_at > now() AND attempts > 0)::int AS failing
         FROM webhook_events WHERE status = 'pending'`,
    );
    if (row!.open === 0) return;
    if (row!.failing > 0)
      await db.rows(`UPDATE webhook_events SET next_attempt_at = now() WHERE status = 'pending' AND next_attempt_at > now()`);
    if (Date.now() > deadline) {
      const errors = await db.rows(`SELECT type, attempts, last_error FROM webhook_events WHERE status = 'pending' LIMIT 5`);
      throw new Error(`${row!.open} events wait in vain: ${JSON.stringify(errors)}`);
    }
    await sleep(10);
  }
}

/** What was given up or could not be read: there must be none. */
export async function givenUp({ db }: Target): Promise<object[]> {
  return db.rows(`SELECT type, status, attempts, last_error FROM webhook_events WHERE status IN ('dead', 'quarantined') LIMIT 5`);
}

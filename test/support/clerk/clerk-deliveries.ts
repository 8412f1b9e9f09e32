import { setTimeout as sleep } from 'node:timers/promises';
import type { HistoryEvent } from '../../simulators/clerk-instance.js';
import { deliver, type Signing } from './clerk-events.js';
import type { TestDatabase } from '../database.js';
import { until } from '../until.js';

/** The servers and the database that receive deliveries. */
export interface Target {
  db: TestDatabase;
  /** Servers on that database; deliveries alternate between them. */
  urls: () => string[];
  /** Whether an event may fail at first, because the test breaks or kills something. */
  mayFail?: boolean;
}

/** One message, the same in every attempt. */
export type Message = Pick<HistoryEvent, 'messageId' | 'body'> & { provider?: Signing['provider'] };

/** Delivers events concurrently, and retries each until it is accepted, as providers do. */
export async function deliverConcurrently({ urls }: Target, events: Message[], callers = 16): Promise<void> {
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
      // A refused or cut connection: retry.
      if (error instanceof Refused || tries > 500) throw error;
    }
    await sleep(20);
  }
}

class Refused extends Error {}

/** Delivers each history in its order, one event after the other; different histories run concurrently. */
export async function deliverInTurn(target: Target, histories: { events: Message[] }[]): Promise<void> {
  const rounds = Math.max(...histories.map(({ events }) => events.length));
  for (let round = 0; round < rounds; round += 1) {
    await deliverConcurrently(
      target,
      histories.flatMap(({ events }) => events.slice(round, round + 1)),
    );
    await untilProcessed(target);
  }
}

/**
 * Waits until every delivered event is processed. An event that fails makes this fail, unless the target has `mayFail`: then the event is
 * retried at once.
 */
export async function untilProcessed({ db, mayFail = false }: Target, withinMs = 120_000): Promise<void> {
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

/** The dead and quarantined events, of which there must be none. */
export async function failedEvents({ db }: Target): Promise<object[]> {
  return db.rows(`SELECT type, status, attempts, last_error FROM webhook_events WHERE status IN ('dead', 'quarantined') LIMIT 5`);
}

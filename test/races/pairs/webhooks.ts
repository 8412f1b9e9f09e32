import { v7 } from 'uuid';
import type { InboxWorker } from '../../../src/webhooks/inbox.worker.js';
import { clerkEvent, sign, userData } from '../../support/clerk/clerk-events.js';
import { newPeople, type Person } from '../people.js';
import type { Process } from '../process.js';
import type { Operation, Pair, Stage } from '../stage.js';

interface World {
  operator: Person;
  clerkUserId: string;
  message: { headers: Record<string, string>; body: string };
  /** Of the stored event, if it was received before. */
  eventId?: string;
}

/** One round of the worker: claims due events, and applies them. */
async function workOff(process: Process): Promise<void> {
  const inbox = await process.service<InboxWorker>('webhooks/inbox.worker.js', 'InboxWorker');
  await inbox['work'](new AbortController().signal);
  while (inbox['running'].size > 0) await Promise.all(inbox['running']);
}

const work = (): Operation => async (process) => {
  await workOff(process);
  return { status: 200, body: {} };
};
const receive =
  ({ message }: World): Operation =>
  (process) =>
    process.call('POST', '/webhooks/clerk', message);
const replay =
  ({ operator, eventId }: World): Operation =>
  (process) =>
    process.call('POST', `/v1/webhook-events/${eventId}/replay`, { as: operator });

async function findFaults({ db, processes }: Stage, { clerkUserId, message }: World): Promise<string[]> {
  const messageId = message.headers['svix-id']!;
  const isPending = async () =>
    (await db.rows(`SELECT FROM webhook_events WHERE message_id = $1 AND status = 'pending'`, [messageId])).length > 0;
  // As another process does when a lease is over.
  for (let round = 0; round < 3 && (await isPending()); round += 1) {
    await db.rows('UPDATE webhook_events SET leased_until = NULL, next_attempt_at = now() WHERE message_id = $1', [messageId]);
    await workOff(processes[0]);
  }
  const events = await db.rows<{ status: string }>('SELECT status FROM webhook_events WHERE message_id = $1', [messageId]);
  const users = await db.rows('SELECT FROM users WHERE clerk_user_id = $1', [clerkUserId]);
  const entries = await db.rows(`SELECT FROM audit_log WHERE request_id = $1 AND action <> 'webhook_event.replayed'`, [messageId]);
  return [
    ...(events.length === 1 && events[0]!.status !== 'pending'
      ? []
      : [`the message is stored as ${events.map(({ status }) => status).join(', ')}`]),
    ...(users.length === 1 ? [] : [`the event made ${users.length} users`]),
    ...(entries.length === 1 ? [] : [`the event has ${entries.length} audit entries`]),
  ];
}

function pair(
  name: string,
  isReceived: boolean,
  [first, second]: [(world: World) => Operation, (world: World) => Operation],
  outcomes: string[],
): Pair {
  const prepare = async (stage: Stage) => {
    const { db, processes } = stage;
    const [operator] = (await newPeople(db, 1)) as [Person];
    await db.rows('UPDATE users SET operator = true WHERE id = $1', [operator.id]);
    const clerkUserId = `user_${v7()}`;
    const body = JSON.stringify(clerkEvent('user.created', userData({ id: clerkUserId })));
    const world: World = { operator, clerkUserId, message: { headers: sign(body, { id: `msg_${v7()}` }), body } };
    if (isReceived) {
      await receive(world)(processes[0]);
      const [row] = await db.rows<{ id: string }>('SELECT id FROM webhook_events WHERE message_id = $1', [
        world.message.headers['svix-id'],
      ]);
      world.eventId = row!.id;
    }
    return { operations: [first(world), second(world)] as const, outcomes, check: () => findFaults(stage, world) };
  };
  return { name, prepare };
}

export const WEBHOOKS: Pair[] = [
  pair('a message is received × and received again', false, [receive, receive], ['202, 202']),
  pair('a worker claims an event × another claims it', true, [work, work], ['200, 200']),
  pair('a worker applies an event × an operator replays it', true, [work, replay], ['200, 202']),
];

import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLERK_EXAMPLES } from '../src/providers/clerk/clerk-examples.js';
import { POLAR_EXAMPLES } from '../src/providers/polar/polar-examples.js';
import { signedHeaders } from '../src/platform/crypto/webhook-signature.js';
import { compareWithBefore } from './support/contest.js';
import type { BenchDatabase } from './support/database.js';
import { options } from './support/options.js';
import { type Program, withPrograms } from './support/program.js';
import { heading, note, verdict } from './support/report.js';
import { WEBHOOK_KEY } from './support/seed.js';

const RATE = 500;
const SECONDS = options.ci ? 5 : 30;
const FLOOR_SECONDS = options.ci ? 3 : 10;
const COMPARED_ROUNDS = 3;
const COMPARED_SECONDS = 10;
/** About 10 when the bound was set. */
const CI_CPU_RATIO = 20;
const CONNECTIONS = 64;
const DRAIN_WITHIN_MS = 120_000;

/** The events of a customer's first minutes, two users in an organization. */
const FIRST_EVENTS = [
  'user.created',
  'organization.created',
  'organizationMembership.created',
  'session.created',
  'user.updated',
  'organizationMembership.updated',
  'user.updated',
  'session.revoked',
];

interface Message {
  id: string;
  body: Buffer;
}

/** The events in the life of a subscription, each with its own customer. */
const SUBSCRIPTION = [
  'customer.created',
  'subscription.created',
  'subscription.active',
  'order.paid',
  'subscription.canceled',
  'subscription.uncanceled',
  'subscription.past_due',
  'subscription.revoked',
];

/** A sender, and its endpoint. */
interface Sender {
  provider: 'clerk' | 'polar';
  secretName: string;
  messages: (prefix: string, count: number) => Message[];
}

/** Signed deliveries at a steady rate, each answered when it is durable, and processed at the same time. */
export async function webhooks(db: BenchDatabase): Promise<void> {
  heading(
    'webhooks',
    `${RATE} signed deliveries of Clerk a second for ${SECONDS} s over ${CONNECTIONS} connections, all of them processed`,
  );
  await measure(db, { provider: 'clerk', secretName: 'CLERK_WEBHOOK_SIGNING_SECRET', messages });
}

/** The same for a billing provider. */
export async function billing(db: BenchDatabase): Promise<void> {
  heading('billing', `${RATE} signed deliveries of Polar a second for ${SECONDS} s over ${CONNECTIONS} connections, all of them processed`);
  await measure(db, { provider: 'polar', secretName: 'POLAR_WEBHOOK_SECRET', messages: billingMessages });
}

export const CLERK_SECRET = { CLERK_WEBHOOK_SIGNING_SECRET: `whsec_${WEBHOOK_KEY.toString('base64')}` };

/** Sends a fifth of the events of `webhooks`, beside other load. */
export async function sendClerkEvents(app: Program, prefix: string, seconds: number): Promise<void> {
  await flood(app, '/webhooks/clerk', messages(prefix, (RATE / 5) * seconds), RATE / 5);
}

async function measure(db: BenchDatabase, sender: Sender): Promise<void> {
  await withPrograms(db, async ({ tenantry, variant }) => {
    const floor = await variant('webhook-floor');
    await flood(floor, '/', sender.messages('warm', RATE * 2));
    const before = await floor.usage();
    const least = await flood(floor, '/', sender.messages('floor', RATE * FLOOR_SECONDS));
    const leastCpu = ((await floor.usage()).cpu - before.cpu) / (RATE * FLOOR_SECONDS);
    await floor.stop();
    note(`the floor (signature, one insert, no effect): p50 ${least.p50.toFixed(1)} ms, p99 ${least.p99.toFixed(1)} ms`);

    const secret = `whsec_${WEBHOOK_KEY.toString('base64')}`;
    const app = await tenantry({ environment: { [sender.secretName]: secret } });
    await sendAndDrain(db, app, sender, 'warm', 2);
    if (app.before !== undefined) return compare(db, app, sender);
    const result = await sendAndDrain(db, app, sender, 'flood', SECONDS);
    note(`answers: p50 ${result.p50.toFixed(1)} ms, p99 ${result.p99.toFixed(1)} ms, longest ${result.longest.toFixed(0)} ms`);
    note(
      `effects: ${result.perSecond.toFixed(0)}/s from the first delivery to the last effect; ${result.failed} took more than one attempt`,
    );
    verdict({ what: 'p99 of the durable answer, ms', measured: result.p99, goal: { atMost: 50 } });
    verdict({ what: 'deliveries not answered 202', measured: result.refused, goal: { atMost: 0 }, ci: { atMost: 0 } });
    verdict({ what: 'events lost or not processed', measured: result.lost, goal: { atMost: 0 }, ci: { atMost: 0 } });
    verdict({ what: 'CPU of an event, receipt and effect, ms', measured: result.cpu / 1000, goal: { atMost: 1.3 } });
    verdict({ what: 'CPU of an event ÷ a receipt of the floor', measured: result.cpu / leastCpu, ci: { atMost: CI_CPU_RATIO } });
    verdict({ what: 'drained after the end, s', measured: result.drain, goal: { atMost: 5 } });
  });
}

async function compare(db: BenchDatabase, app: Program, sender: Sender): Promise<void> {
  const rounds: [Delivered, Delivered][] = [];
  await sendAndDrain(db.before!, app.before!, sender, 'warm', 2);
  for (let round = 0; round < COMPARED_ROUNDS; round += 1) {
    const now = await sendAndDrain(db, app, sender, `round${round}`, COMPARED_SECONDS);
    const before = await sendAndDrain(db.before!, app.before!, sender, `round${round}`, COMPARED_SECONDS);
    rounds.push([now, before]);
    for (const one of [now, before])
      note(`p99 ${one.p99.toFixed(1)} ms, CPU ${one.cpu.toFixed(0)} us, drained after ${one.drain.toFixed(1)} s`);
  }
  compareWithBefore('an event, receipt and effect', rounds);
}

type Delivered = Awaited<ReturnType<typeof sendAndDrain>>;

/** Sends events for some seconds, and waits until all of them are processed. */
async function sendAndDrain(db: BenchDatabase, app: Program, { provider, messages: create }: Sender, prefix: string, seconds: number) {
  const [start, before, databaseBefore] = [performance.now(), await app.usage(), await db.cpu()];
  const count = RATE * seconds;
  const times = await flood(app, `/webhooks/${provider}`, create(prefix, count));
  const ended = performance.now();
  await drained(db);
  const [drain, all] = [(performance.now() - ended) / 1000, (performance.now() - start) / 1000];
  const cpu = ((await app.usage()).cpu - before.cpu) / count;
  const databaseAfter = await db.cpu();
  const databaseCpu = databaseAfter === undefined ? undefined : (databaseAfter - databaseBefore!) / count;
  const [{ processed, failed }] = (await db.query<{ processed: number; failed: number }>(
    `SELECT count(*) FILTER (WHERE status = 'processed')::int AS processed, count(*) FILTER (WHERE attempts > 1)::int AS failed
       FROM webhook_events WHERE provider = '${provider}' AND message_id LIKE 'msg_${prefix}_%'`,
  )) as [{ processed: number; failed: number }];
  return { ...times, perSecond: count / all, cpu, databaseCpu, drain, lost: count - processed, failed };
}

function messages(prefix: string, count: number): Message[] {
  const now = Date.now();
  return Array.from({ length: count }, (_, index) => {
    const customer = Math.floor(index / FIRST_EVENTS.length);
    const type = FIRST_EVENTS[index % FIRST_EVENTS.length]!;
    const names = {
      user: `user_${prefix}_${customer}`,
      organization: `org_${prefix}_${customer >> 1}`,
      email: `${prefix}-${customer}@example.com`,
      product: '',
      subscription: '',
    };
    const event = { object: 'event', type, timestamp: now + index, data: CLERK_EXAMPLES[type]!(names, now + index) };
    return { id: `msg_${prefix}_${index}`, body: Buffer.from(JSON.stringify(event)) };
  });
}

function billingMessages(prefix: string, count: number): Message[] {
  const now = Date.now();
  return Array.from({ length: count }, (_, index) => {
    const customer = Math.floor(index / SUBSCRIPTION.length);
    const type = SUBSCRIPTION[index % SUBSCRIPTION.length]!;
    const organization = `org_${prefix}_${customer}`;
    const names = {
      user: '',
      organization,
      email: `${prefix}-${customer}@example.com`,
      product: 'p',
      subscription: `sub_${prefix}_${customer}`,
    };
    const event = { type, timestamp: new Date(now + index).toISOString(), data: POLAR_EXAMPLES[type]!(names, now + index) };
    return { id: `msg_${prefix}_${index}`, body: Buffer.from(JSON.stringify(event)) };
  });
}

/** Sends each message at its time, whether or not earlier ones were answered; times count from the due time. */
async function flood(program: Program, path: string, all: Message[], rate = RATE) {
  // With a time-out of its own, it also closes an idle connection before the server does, as the server announces.
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS, timeout: 60_000 });
  const times: number[] = [];
  const refusals: Record<string, number> = {};
  const start = performance.now();
  const deliver = (message: Message, due: number) =>
    new Promise<void>((resolve) => {
      const done = (outcome: number | string | undefined) => {
        if (outcome !== 202) refusals[String(outcome)] = (refusals[String(outcome)] ?? 0) + 1;
        times.push(performance.now() - due);
        resolve();
      };
      const headers = { ...signedHeaders(message.id, message.body, WEBHOOK_KEY, new Date()), 'content-type': 'application/json' };
      const sent = request(`${program.url}${path}`, { method: 'POST', agent, headers }, (answer) => {
        answer.resume().once('end', () => done(answer.statusCode));
      });
      sent.once('error', (error) => done(error.message));
      sent.end(message.body);
    });
  const under: Promise<void>[] = [];
  for (let next = 0; next < all.length; await sleep(2)) {
    const due = Math.min(all.length, Math.ceil(((performance.now() - start) / 1000) * rate));
    for (; next < due; next += 1) under.push(deliver(all[next]!, start + (next / rate) * 1000));
  }
  await Promise.all(under);
  agent.destroy();
  const sorted = times.toSorted((a, b) => a - b);
  const refused = Object.values(refusals).reduce((sum, count) => sum + count, 0);
  if (refused > 0) note(`not answered 202: ${JSON.stringify(refusals)}`);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
  return { p50: at(0.5), p99: at(0.99), longest: sorted.at(-1)!, refused };
}

async function drained(db: BenchDatabase): Promise<void> {
  for (const start = performance.now(); performance.now() - start < DRAIN_WITHIN_MS; await sleep(50)) {
    const [row] = await db.query<{ pending: number }>(`SELECT count(*)::int AS pending FROM webhook_events WHERE status = 'pending'`);
    if (row!.pending === 0) return;
  }
}

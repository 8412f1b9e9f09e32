import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { webhooks } from '@polar-sh/sdk/2026-10';
import DodoPayments from 'dodopayments';
import { DodoAccount } from '../simulators/dodo-account.js';
import { PolarAccount } from '../simulators/polar-account.js';
import { VirtualClock } from '../simulators/virtual-time.js';
import { type SenderFaults, dodoSender, polarSender, type WebhookSender } from '../simulators/webhook-sender.js';

const SECRET = `whsec_${Buffer.from('senders sign what they deliver').toString('base64')}`;
const START = Date.UTC(2026, 0, 1);

interface Received {
  id: string;
  body: string;
  headers: Record<string, string>;
}

async function startReceiver() {
  const received: Received[] = [];
  const control = { status: (_call: Received): number => 202 };
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const headers = request.headers as Record<string, string>;
    const call = { id: headers['webhook-id']!, body: await text(request), headers };
    received.push(call);
    response.writeHead(control.status(call)).end();
  };
  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhooks/polar`,
    received,
    control,
    close: () => new Promise<void>((resolve) => void server.close(() => resolve())),
  };
}

describe('a simulated webhook sender', () => {
  let receiver: Awaited<ReturnType<typeof startReceiver>>;

  beforeEach(async () => {
    receiver = await startReceiver();
  });

  afterEach(() => receiver.close());

  function polarHistory(subscriptions = 3) {
    const clock = new VirtualClock(START);
    const account = new PolarAccount({ clock });
    const { id: productId } = account.createProduct();
    for (let count = 0; count < subscriptions; count += 1) {
      clock.advance({ minutes: 10 });
      account.subscribe({ productId, externalCustomerId: `org-${count}` });
    }
    return { clock, account };
  }

  function dodoHistory(rendering: 'latest' | 'stored' = 'latest') {
    const clock = new VirtualClock(START);
    const account = new DodoAccount({ clock, rendering });
    const { product_id: productId } = account.createProduct();
    const { subscription_id: id } = account.subscribe({ productId });
    return { clock, account, productId, id };
  }

  const gaps = ({ deliveries }: WebhookSender, messageId: string) => {
    const times = deliveries.filter((one) => one.messageId === messageId).map(({ at }) => at.getTime());
    return times.slice(1).map((at, index) => at - times[index]!);
  };

  it.each(['legacy', 'standard'] as const)('signs for Polar with the %s key, as Polar’s SDK verifies', async (signature) => {
    const { account } = polarHistory(1);
    const sender = polarSender(account, { url: receiver.url, secret: SECRET, signature });
    await sender.run();
    expect(receiver.received.map(({ id }) => id)).toEqual(account.events.map(({ messageId }) => messageId));
    for (const { body, headers } of receiver.received) {
      expect(await webhooks.validateEvent(body, headers, SECRET)).toEqual(JSON.parse(body));
    }
    expect(sender.undelivered()).toEqual([]);
  });

  it('signs for Dodo, as Dodo’s SDK verifies, and delivers in random order', async () => {
    const { account, productId } = dodoHistory();
    for (let count = 0; count < 5; count += 1) account.subscribe({ productId });
    await dodoSender(account, { url: receiver.url, secret: SECRET }).run();
    const dodo = new DodoPayments({ bearerToken: 'none' });
    for (const { body, headers } of receiver.received)
      expect(dodo.webhooks.unwrap(body, { headers, key: SECRET })).toEqual(JSON.parse(body));
    const order = receiver.received.map(({ id }) => id);
    const sent = account.events.map(({ messageId }) => messageId);
    expect(order.toSorted()).toEqual(sent.toSorted());
    expect(order).not.toEqual(sent);
  });

  it('makes ten attempts for Polar within 17 to 34 minutes, with the same bytes', async () => {
    const { account } = polarHistory(1);
    const messageId = account.events[0]!.messageId;
    receiver.control.status = ({ id }) => (id === messageId ? 500 : 202);
    const sender = polarSender(account, { url: receiver.url, secret: SECRET });
    await sender.run();
    const waits = gaps(sender, messageId);
    expect(waits).toHaveLength(9);
    for (const [index, wait] of waits.entries()) {
      const most = 2000 * 2 ** (index + 1);
      expect(wait).toBeGreaterThanOrEqual(most / 2);
      expect(wait).toBeLessThanOrEqual(most);
    }
    expect(new Set(receiver.received.filter(({ id }) => id === messageId).map(({ body }) => body)).size).toBe(1);
    expect(sender.undelivered()).toEqual([messageId]);
  });

  it('makes eight attempts for Dodo over more than a day', async () => {
    const { account } = dodoHistory();
    receiver.control.status = () => 500;
    const sender = dodoSender(account, { url: receiver.url, secret: SECRET });
    await sender.run();
    const [minute, hour] = [60_000, 3_600_000];
    const schedule = [5000, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 10 * hour];
    for (const { messageId } of account.events) expect(gaps(sender, messageId)).toEqual(schedule);
  });

  it('sends the current state at each attempt, where the provider renders late', async () => {
    const statusesOf = async (rendering: 'latest' | 'stored') => {
      const { clock, account, id } = dodoHistory(rendering);
      const { messageId } = account.events.find(({ type }) => type === 'subscription.active')!;
      receiver.control.status = (call) => (call.id === messageId ? 500 : 202);
      const sender = dodoSender(account, { url: receiver.url, secret: SECRET });
      clock.advance({ minutes: 1 });
      await sender.run(clock.now());
      account.cancel(id, { when: 'now' });
      clock.advance({ hours: 1 });
      await sender.run(clock.now());
      const bodies = receiver.received.splice(0).filter((call) => call.id === messageId);
      return bodies.map(({ body }) => (JSON.parse(body) as { data: { status: string } }).data.status);
    };
    expect(await statusesOf('latest')).toEqual(['active', 'active', 'cancelled', 'cancelled']);
    expect(await statusesOf('stored')).toEqual(['active', 'active', 'active', 'active']);
  });

  it('keeps Polar’s first attempts in order for at most a minute', async () => {
    const { account } = polarHistory(8);
    const orderWith = async (faults: Partial<SenderFaults>) => {
      const sender = polarSender(account, { url: receiver.url, secret: SECRET, faults });
      await sender.run();
      return sender.deliveries.map(({ messageId }) => messageId);
    };
    const sent = account.events.map(({ messageId }) => messageId);
    expect(await orderWith({ reordered: 0.5 })).toEqual(sent);
    const late = await orderWith({ delayed: 0.3 });
    expect(late).not.toEqual(sent);
    expect(late.toSorted()).toEqual(sent.toSorted());
  });

  it('is disabled by Polar after ten failed events', async () => {
    const { account } = polarHistory(3);
    receiver.control.status = () => 503;
    const sender = polarSender(account, { url: receiver.url, secret: SECRET });
    await sender.run();
    expect(sender.disabled).toBe(true);
    expect(sender.undelivered()).toHaveLength(account.events.length);
    const before = sender.deliveries.length;
    receiver.control.status = () => 202;
    await sender.run();
    expect(sender.deliveries).toHaveLength(before);
    sender.enable();
    sender.redeliver(account.events[0]!.messageId, account.now());
    account.createProduct();
    await sender.run();
    expect(sender.deliveries.slice(before).map(({ messageId }) => messageId)).toEqual([
      account.events[0]!.messageId,
      account.events.at(-1)!.messageId,
    ]);
  });

  it('loses, duplicates and repeats messages as configured, equally for equal seeds', async () => {
    const { account } = polarHistory(10);
    const faults = { lost: 0.1, duplicated: 0.2, delayed: 0.1, reordered: 0.2, answerLost: 0.1, unreachable: 0.1 };
    const runWith = async (seed: number) => {
      receiver.received.length = 0;
      const sender = polarSender(account, { url: receiver.url, secret: SECRET, seed, faults });
      await sender.run();
      return { sender, ids: receiver.received.map(({ id }) => id) };
    };
    const first = await runWith(1);
    expect((await runWith(1)).ids).toEqual(first.ids);
    expect((await runWith(2)).ids).not.toEqual(first.ids);
    const lost = first.sender.undelivered();
    expect(lost.length).toBeGreaterThan(0);
    expect(new Set(first.ids).size).toBe(account.events.length - lost.length);
    expect(first.ids.length).toBeGreaterThan(new Set(first.ids).size);
  });

  it('retries after a time-out', async () => {
    const { account } = dodoHistory();
    await receiver.close();
    const sender = dodoSender(account, { url: receiver.url, secret: SECRET, timeoutMs: 500 });
    await sender.run(new Date(START + 60_000));
    expect(new Set(sender.deliveries.map(({ answer }) => answer))).toEqual(new Set(['no answer']));
    receiver = await startReceiver();
  });
});

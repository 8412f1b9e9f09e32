import { Clock } from '../../../src/platform/time/clock.service.js';
import type { LINE_LIMITS } from '../../../src/usage/exports/meter-dispatcher.js';
import { MetersRepository } from '../../../src/usage/exports/meter-exports.repository.js';
import type { MeteredEvent } from '../../../src/usage/exports/meter-exports.service.js';
import { VirtualClock } from '../../simulators/virtual-time.js';
import type { TestApp } from '../../support/app.js';
import {
  exportsIn,
  manualDispatcher,
  type ManualDispatcher,
  type MeterProvider,
  MeterWorld,
  recordUsage,
  tokensOf,
} from '../../support/usage/meter-world.js';

const BOTH: MeterProvider[] = ['polar', 'dodo'];
const MINUTE = 60_000;

/** Refused by both: no value may be so long. */
const TOO_LONG = 'x'.repeat(501);

describe('the line of a meter', () => {
  let clock: VirtualClock;
  let world: MeterWorld;
  let t: TestApp;
  let lines: Record<MeterProvider, ManualDispatcher>;
  beforeEach(async () => {
    clock = new VirtualClock(Date.UTC(2026, 4, 1, 12));
    world = await MeterWorld.start(clock);
    t = await world.startApp();
    lines = { polar: await manualDispatcher(t, 'polar'), dodo: await manualDispatcher(t, 'dodo') };
  });
  afterEach(async () => {
    await t.close();
    await world.close();
  });

  /** Works until nothing is due. */
  async function workOff(provider: MeterProvider): Promise<void> {
    while (await lines[provider].work());
  }

  const record = async (events: MeteredEvent[]) => recordUsage(t, events);
  const ageOf = (at: string) => clock.now().getTime() - Date.parse(at);

  it.each(BOTH)('asks %s again when it said so, and not before', async (provider) => {
    const events = world.events(provider, world.newCustomer(provider), 3);
    await record(events);
    world.faults[provider].push({ status: 429, retryAfter: 300 });
    await lines[provider].work();
    clock.advance({ seconds: 299 });
    expect(await lines[provider].work()).toBe(false);
    expect(world.requestsAt(provider)).toBe(1);
    clock.advance({ seconds: 1 });
    await workOff(provider);
    expect([world.requestsAt(provider), world.tokensAt(provider)]).toEqual([2, tokensOf(events)]);
    expect(await exportsIn(t.db)).toEqual([]);
  });

  it.each(BOTH)('goes on for ever while %s is away, at most once in a minute, and loses nothing', async (provider) => {
    lines[provider] = await manualDispatcher(t, provider, { batch: 100 });
    const events = world.events(provider, world.newCustomer(provider), 150);
    await record(events);
    const end = clock.now().getTime() + 120 * MINUTE;
    while (clock.now().getTime() < end) {
      if (world.faults[provider].length === 0) world.faults[provider].push({ status: 503 });
      await lines[provider].work();
      clock.advance({ seconds: 5 });
    }
    expect(world.requestsAt(provider)).toBeGreaterThan(90);
    expect(world.requestsAt(provider)).toBeLessThan(160);
    expect((await exportsIn(t.db)).filter(({ next_attempt_at: next }) => next === null)).toEqual([]);
    world.faults[provider].splice(0);
    clock.advance({ minutes: 2 });
    await workOff(provider);
    expect([world.eventsAt(provider), world.tokensAt(provider)]).toEqual([150, tokensOf(events)]);
    expect(lines[provider].outcomes).toMatchObject({ taken: 150, refused: 0 });
  });

  it('stamps for Dodo anew what is older than it takes, and says when it was', async () => {
    const [late, fresh] = [clock.now(), new Date(clock.now().getTime() + 80 * MINUTE)];
    const customerId = world.newCustomer('dodo');
    await record([
      ...world.events('dodo', customerId, 2, { occurredAt: late }),
      ...world.events('dodo', customerId, 1, { occurredAt: fresh }),
    ]);
    clock.advance({ minutes: 120 });
    await workOff('dodo');
    const taken = [...world.dodo.usage.values()];
    expect(taken.map(({ metadata }) => metadata!['occurred_at']).toSorted()).toEqual([late.toISOString(), late.toISOString(), undefined]);
    for (const { timestamp, metadata } of taken) {
      const isLate = metadata!['occurred_at'] !== undefined;
      expect(ageOf(timestamp!)).toBe((isLate ? 55 : 40) * MINUTE);
    }
  });

  it('tells Polar when it was, however late', async () => {
    const at = clock.now();
    await record(world.events('polar', world.newCustomer('polar'), 1));
    clock.advance({ days: 40 });
    await workOff('polar');
    expect(world.polar.usage).toMatchObject([{ timestamp: at.toISOString() }]);
  });

  it.each(BOTH)('tells %s of nothing that is still to come', async (provider) => {
    const later = new Date(clock.now().getTime() + 4 * MINUTE);
    await record(world.events(provider, world.newCustomer(provider), 1, { occurredAt: later }));
    await workOff(provider);
    const [taken] = provider === 'polar' ? world.polar.usage : [...world.dodo.usage.values()];
    expect(taken).toMatchObject({ timestamp: clock.now().toISOString() });
  });

  it.each(BOTH)('counts once at %s what it could not know to have arrived', async (provider) => {
    const events = world.events(provider, world.newCustomer(provider), 20);
    await record(events);
    world.faults[provider].push('lost', 'lost');
    await lines[provider].work();
    expect(world.tokensAt(provider)).toBe(tokensOf(events));
    expect(await exportsIn(t.db)).toHaveLength(20);
    await record(world.events(provider, world.newCustomer(provider), 5));
    clock.advance({ minutes: 2 });
    await lines[provider].work();
    clock.advance({ minutes: 2 });
    await workOff(provider);
    expect([world.eventsAt(provider), world.tokensAt(provider)]).toEqual([25, tokensOf(events) + 15]);
    expect(await exportsIn(t.db)).toEqual([]);
  });

  it.each<[MeterProvider, number]>([
    ['polar', 2],
    // Halved until it is found: of each pair one is refused, and every time the customer is asked after.
    ['dodo', 21],
  ])('finds the one of a thousand that is wrong at %s, in few requests, and sends the others', async (provider, most) => {
    const events = world.events(provider, world.newCustomer(provider), 1000);
    events[618]!.model = TOO_LONG;
    await record(events);
    await workOff(provider);
    expect(world.eventsAt(provider)).toBe(999);
    expect(world.tokensAt(provider)).toBe(tokensOf(events) - 619);
    expect(world.requestsAt(provider)).toBeLessThanOrEqual(most);
    expect(await exportsIn(t.db)).toEqual([
      { event_id: events[618]!.eventId, attempts: 1, next_attempt_at: null, last_error: expect.stringMatching(/metadata/i) },
    ]);
    expect(lines[provider].outcomes).toEqual({ taken: 999, refused: 1, failed: 0 });
  });

  it('tells of each that Polar refuses what is wrong with it', async () => {
    const [known, unknown] = [world.newCustomer('polar'), '11111111-1111-4111-8111-111111111111'];
    const events = world.events('polar', known, 10);
    events[2] = { ...events[2]!, model: TOO_LONG };
    events[4] = { ...events[4]!, providerCustomerId: 'no-uuid' };
    events[6] = { ...events[6]!, providerCustomerId: unknown };
    await record(events);
    await workOff('polar');
    expect(world.eventsAt('polar')).toBe(7);
    expect((await exportsIn(t.db)).map(({ event_id: id, last_error: error }) => [id, error])).toEqual([
      [events[2].eventId, expect.stringMatching(/^metadata: /)],
      [events[4].eventId, expect.stringMatching(/^customer_id: Input should be a valid UUID/)],
      [events[6].eventId, 'customer_id: Customer does not exist.'],
    ]);
  });

  it('does not ask Dodo about each event of a customer who is gone', async () => {
    const known = Array.from({ length: 60 }, () => world.newCustomer('dodo')).flatMap((id) => world.events('dodo', id, 10));
    const gone = world.events('dodo', 'cus_gone', 400);
    await record([...known.slice(0, 300), ...gone, ...known.slice(300)]);
    await workOff('dodo');
    expect(world.tokensAt('dodo')).toBe(tokensOf(known));
    expect(lines.dodo.outcomes).toEqual({ taken: 600, refused: 400, failed: 0 });
    expect(world.requestsAt('dodo')).toBeLessThan(15);
  });

  it('waits for Polar’s clock where ours is ahead, and refuses nothing for it', async () => {
    const ahead = new VirtualClock(clock.now().getTime() + 10 * MINUTE);
    t.app.get(Clock).now = () => ahead.now();
    const customerId = world.newCustomer('polar');
    await record([...world.events('polar', customerId, 5), ...world.events('polar', customerId, 5, { occurredAt: ahead.now() })]);
    await lines.polar.work();
    expect(world.eventsAt('polar')).toBe(5);
    const waiting = await exportsIn(t.db);
    expect(waiting.filter(({ next_attempt_at: next }) => next !== null)).toHaveLength(5);
    clock.advance({ minutes: 10 });
    ahead.advance({ minutes: 10 });
    await workOff('polar');
    expect(world.eventsAt('polar')).toBe(10);
  });

  it.each([
    ['a wrong key', { status: 401, body: '{"error":"invalid_token","error_description":"revoked"}' }],
    ['a missing scope', { status: 403, body: '{"error":"insufficient_scope","error_description":"no"}' }],
    ['a page of somebody in between', { status: 404, body: '<html>', contentType: 'text/html' }],
    ['a page where an answer should be', { status: 200, body: '<html>', contentType: 'text/html' }],
    ['a cut connection', 'cut' as const],
  ])('gives nothing up for %s', async (_what, fault) => {
    const events = world.events('polar', world.newCustomer('polar'), 3);
    await record(events);
    world.faults.polar.push(fault);
    await workOff('polar');
    expect(await exportsIn(t.db)).toMatchObject(
      events.map(() => ({ next_attempt_at: expect.any(Date), last_error: expect.stringContaining('could not take usage') })),
    );
    clock.advance({ minutes: 2 });
    await workOff('polar');
    expect(world.tokensAt('polar')).toBe(tokensOf(events));
  });

  it('sends less at once where a request is too large for somebody', async () => {
    const events = world.events('polar', world.newCustomer('polar'), 8);
    await record(events);
    world.faults.polar.push({ status: 413, body: '<html>', contentType: 'text/html' });
    await workOff('polar');
    expect([world.requestsAt('polar'), world.tokensAt('polar')]).toEqual([3, tokensOf(events)]);
  });

  it('takes up what a worker left that died, when its lease is over', async () => {
    const events = world.events('polar', world.newCustomer('polar'), 3);
    await record(events);
    const repository = t.app.get(MetersRepository);
    const until = new Date(clock.now().getTime() + MINUTE);
    const left = await repository.claim('polar', { now: clock.now(), until, limit: 1000 });
    expect(left).toHaveLength(3);
    expect(await lines.polar.work()).toBe(false);
    clock.advance({ minutes: 1 });
    const late = await repository.claim('polar', { now: clock.now(), until: new Date(until.getTime() + MINUTE), limit: 1000 });
    // The first one was only slow: what it writes now is about an attempt that is not the last one any more.
    await repository.refuse(left, 'too late');
    await repository.postpone(left, clock.now(), 'too late');
    expect(await exportsIn(t.db)).toMatchObject(late.map(() => ({ attempts: 2, last_error: null, next_attempt_at: expect.any(Date) })));
    clock.advance({ minutes: 1 });
    await workOff('polar');
    expect(world.tokensAt('polar')).toBe(tokensOf(events));
  });

  it('leaves what it has to the next process when it is to stop', async () => {
    const events = world.events('polar', world.newCustomer('polar'), 5);
    await record(events);
    const stopping = new AbortController();
    world.onRequest.polar = () => stopping.abort();
    world.faults.polar.push('hang');
    await lines.polar.work(stopping.signal);
    expect(await lines.polar.work(stopping.signal)).toBe(false);
    clock.advance({ seconds: 1 });
    await workOff('polar');
    expect(world.tokensAt('polar')).toBe(tokensOf(events));
  });

  it('lets more come together where a batch was not full', async () => {
    const pauses: number[] = [];
    const pause = (async (ms: number) => pauses.push(ms)) as unknown as (typeof LINE_LIMITS)['pause'];
    // So long that what passes by itself does not matter; as nobody waits, it is asked for again before the request.
    lines.polar = await manualDispatcher(t, 'polar', { batch: 4, pauseMs: 1_000_000, coalesceMs: 3_000_000, pause });
    await record(world.events('polar', world.newCustomer('polar'), 6));
    await workOff('polar');
    expect(world.requestsAt('polar')).toBe(2);
    expect([...new Set(pauses.map((ms) => Math.ceil(ms / 1_000_000)))]).toEqual([1, 4]);
  });

  it('sends the oldest first, and lets no customer wait for ever behind what fails', async () => {
    const customerId = world.newCustomer('polar');
    for (let minute = 0; minute < 3; minute += 1) {
      await record(world.events('polar', customerId, 2, { model: `model-${minute}` }));
      clock.advance({ minutes: 1 });
    }
    lines.polar = await manualDispatcher(t, 'polar', { batch: 2 });
    world.faults.polar.push({ status: 500 });
    await lines.polar.work();
    clock.advance({ seconds: 2 });
    await workOff('polar');
    expect(world.polar.usage.map(({ metadata }) => metadata!['model'])).toEqual([
      'model-1',
      'model-1',
      'model-2',
      'model-2',
      'model-0',
      'model-0',
    ]);
  });
});

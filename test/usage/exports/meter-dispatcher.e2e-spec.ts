import { Clock } from '../../../src/platform/time/clock.service.js';
import type { DISPATCH_LIMITS } from '../../../src/usage/exports/meter-dispatcher.js';
import { MeterExportsRepository } from '../../../src/usage/exports/meter-exports.repository.js';
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

/** Refused by both providers, because the value is too long. */
const TOO_LONG = 'x'.repeat(501);

describe('the meter dispatcher', () => {
  let clock: VirtualClock;
  let world: MeterWorld;
  let t: TestApp;
  let dispatchers: Record<MeterProvider, ManualDispatcher>;
  beforeEach(async () => {
    clock = new VirtualClock(Date.UTC(2026, 4, 1, 12));
    world = await MeterWorld.start(clock);
    t = await world.startApp();
    dispatchers = { polar: await manualDispatcher(t, 'polar'), dodo: await manualDispatcher(t, 'dodo') };
  });
  afterEach(async () => {
    await t.close();
    await world.close();
  });

  /** Works until nothing is due. */
  async function workUntilIdle(provider: MeterProvider): Promise<void> {
    while (await dispatchers[provider].work());
  }

  const record = async (events: MeteredEvent[]) => recordUsage(t, events);
  const ageOf = (at: string) => clock.now().getTime() - Date.parse(at);

  it.each(BOTH)('waits as long as %s asks for', async (provider) => {
    const events = world.events(provider, world.newCustomer(provider), 3);
    await record(events);
    world.faults[provider].push({ status: 429, retryAfter: 300 });
    await dispatchers[provider].work();
    clock.advance({ seconds: 299 });
    expect(await dispatchers[provider].work()).toBe(false);
    expect(world.requestsAt(provider)).toBe(1);
    clock.advance({ seconds: 1 });
    await workUntilIdle(provider);
    expect([world.requestsAt(provider), world.tokensAt(provider)]).toEqual([2, tokensOf(events)]);
    expect(await exportsIn(t.db)).toEqual([]);
  });

  it.each(BOTH)('retries without end while %s is unavailable, at most once a minute, and loses nothing', async (provider) => {
    dispatchers[provider] = await manualDispatcher(t, provider, { batch: 100 });
    const events = world.events(provider, world.newCustomer(provider), 150);
    await record(events);
    const end = clock.now().getTime() + 120 * MINUTE;
    while (clock.now().getTime() < end) {
      if (world.faults[provider].length === 0) world.faults[provider].push({ status: 503 });
      await dispatchers[provider].work();
      clock.advance({ seconds: 5 });
    }
    expect(world.requestsAt(provider)).toBeGreaterThan(90);
    expect(world.requestsAt(provider)).toBeLessThan(160);
    expect((await exportsIn(t.db)).filter(({ next_attempt_at: next }) => next === null)).toEqual([]);
    world.faults[provider].splice(0);
    clock.advance({ minutes: 2 });
    await workUntilIdle(provider);
    expect([world.eventsAt(provider), world.tokensAt(provider)]).toEqual([150, tokensOf(events)]);
    expect(dispatchers[provider].outcomes).toMatchObject({ taken: 150, refused: 0 });
  });

  it('sends to Dodo a later timestamp for an event that is too old, with the real time in its metadata', async () => {
    const [late, fresh] = [clock.now(), new Date(clock.now().getTime() + 80 * MINUTE)];
    const customerId = world.newCustomer('dodo');
    await record([
      ...world.events('dodo', customerId, 2, { occurredAt: late }),
      ...world.events('dodo', customerId, 1, { occurredAt: fresh }),
    ]);
    clock.advance({ minutes: 120 });
    await workUntilIdle('dodo');
    const taken = [...world.dodo.usage.values()];
    expect(taken.map(({ metadata }) => metadata!['occurred_at']).toSorted()).toEqual([late.toISOString(), late.toISOString(), undefined]);
    for (const { timestamp, metadata } of taken) {
      const isLate = metadata!['occurred_at'] !== undefined;
      expect(ageOf(timestamp!)).toBe((isLate ? 55 : 40) * MINUTE);
    }
  });

  it('sends to Polar the time of the event, however old', async () => {
    const at = clock.now();
    await record(world.events('polar', world.newCustomer('polar'), 1));
    clock.advance({ days: 40 });
    await workUntilIdle('polar');
    expect(world.polar.usage).toMatchObject([{ timestamp: at.toISOString() }]);
  });

  it.each(BOTH)('sends to %s no time in the future', async (provider) => {
    const later = new Date(clock.now().getTime() + 4 * MINUTE);
    await record(world.events(provider, world.newCustomer(provider), 1, { occurredAt: later }));
    await workUntilIdle(provider);
    const [taken] = provider === 'polar' ? world.polar.usage : [...world.dodo.usage.values()];
    expect(taken).toMatchObject({ timestamp: clock.now().toISOString() });
  });

  it.each(BOTH)('counts once at %s when responses are lost', async (provider) => {
    const events = world.events(provider, world.newCustomer(provider), 20);
    await record(events);
    world.faults[provider].push('lost', 'lost');
    await dispatchers[provider].work();
    expect(world.tokensAt(provider)).toBe(tokensOf(events));
    expect(await exportsIn(t.db)).toHaveLength(20);
    await record(world.events(provider, world.newCustomer(provider), 5));
    clock.advance({ minutes: 2 });
    await dispatchers[provider].work();
    clock.advance({ minutes: 2 });
    await workUntilIdle(provider);
    expect([world.eventsAt(provider), world.tokensAt(provider)]).toEqual([25, tokensOf(events) + 15]);
    expect(await exportsIn(t.db)).toEqual([]);
  });

  it.each<[MeterProvider, number]>([
    ['polar', 2],
    // Found by halving: one half of each pair is refused, and the customer is checked each time.
    ['dodo', 21],
  ])('finds one invalid event in a thousand at %s in few requests, and sends the others', async (provider, most) => {
    const events = world.events(provider, world.newCustomer(provider), 1000);
    events[618]!.model = TOO_LONG;
    await record(events);
    await workUntilIdle(provider);
    expect(world.eventsAt(provider)).toBe(999);
    expect(world.tokensAt(provider)).toBe(tokensOf(events) - 619);
    expect(world.requestsAt(provider)).toBeLessThanOrEqual(most);
    expect(await exportsIn(t.db)).toEqual([
      { event_id: events[618]!.eventId, attempts: 1, next_attempt_at: null, last_error: expect.stringMatching(/metadata/i) },
    ]);
    expect(dispatchers[provider].outcomes).toEqual({ taken: 999, refused: 1, failed: 0 });
  });

  it('stores the reason for each event that Polar refuses', async () => {
    const [known, unknown] = [world.newCustomer('polar'), '11111111-1111-4111-8111-111111111111'];
    const events = world.events('polar', known, 10);
    events[2] = { ...events[2]!, model: TOO_LONG };
    events[4] = { ...events[4]!, providerCustomerId: 'no-uuid' };
    events[6] = { ...events[6]!, providerCustomerId: unknown };
    await record(events);
    await workUntilIdle('polar');
    expect(world.eventsAt('polar')).toBe(7);
    expect((await exportsIn(t.db)).map(({ event_id: id, last_error: error }) => [id, error])).toEqual([
      [events[2].eventId, expect.stringMatching(/^metadata: /)],
      [events[4].eventId, expect.stringMatching(/^customer_id: Input should be a valid UUID/)],
      [events[6].eventId, 'customer_id: Customer does not exist.'],
    ]);
  });

  it('does not send every event of an unknown Dodo customer alone', async () => {
    const known = Array.from({ length: 60 }, () => world.newCustomer('dodo')).flatMap((id) => world.events('dodo', id, 10));
    const gone = world.events('dodo', 'cus_gone', 400);
    await record([...known.slice(0, 300), ...gone, ...known.slice(300)]);
    await workUntilIdle('dodo');
    expect(world.tokensAt('dodo')).toBe(tokensOf(known));
    expect(dispatchers.dodo.outcomes).toEqual({ taken: 600, refused: 400, failed: 0 });
    expect(world.requestsAt('dodo')).toBeLessThan(15);
  });

  it('waits for Polar’s clock when ours is ahead, and refuses nothing', async () => {
    const ahead = new VirtualClock(clock.now().getTime() + 10 * MINUTE);
    t.app.get(Clock).now = () => ahead.now();
    const customerId = world.newCustomer('polar');
    await record([...world.events('polar', customerId, 5), ...world.events('polar', customerId, 5, { occurredAt: ahead.now() })]);
    await dispatchers.polar.work();
    expect(world.eventsAt('polar')).toBe(5);
    const waiting = await exportsIn(t.db);
    expect(waiting.filter(({ next_attempt_at: next }) => next !== null)).toHaveLength(5);
    clock.advance({ minutes: 10 });
    ahead.advance({ minutes: 10 });
    await workUntilIdle('polar');
    expect(world.eventsAt('polar')).toBe(10);
  });

  it.each([
    ['a wrong key', { status: 401, body: '{"error":"invalid_token","error_description":"revoked"}' }],
    ['a missing scope', { status: 403, body: '{"error":"insufficient_scope","error_description":"no"}' }],
    ['an error page of a proxy', { status: 404, body: '<html>', contentType: 'text/html' }],
    ['an HTML page with status 200', { status: 200, body: '<html>', contentType: 'text/html' }],
    ['a cut connection', 'cut' as const],
  ])('gives no event up after %s', async (_what, fault) => {
    const events = world.events('polar', world.newCustomer('polar'), 3);
    await record(events);
    world.faults.polar.push(fault);
    await workUntilIdle('polar');
    expect(await exportsIn(t.db)).toMatchObject(
      events.map(() => ({ next_attempt_at: expect.any(Date), last_error: expect.stringContaining('could not take usage') })),
    );
    clock.advance({ minutes: 2 });
    await workUntilIdle('polar');
    expect(world.tokensAt('polar')).toBe(tokensOf(events));
  });

  it('sends smaller batches after a 413', async () => {
    const events = world.events('polar', world.newCustomer('polar'), 8);
    await record(events);
    world.faults.polar.push({ status: 413, body: '<html>', contentType: 'text/html' });
    await workUntilIdle('polar');
    expect([world.requestsAt('polar'), world.tokensAt('polar')]).toEqual([3, tokensOf(events)]);
  });

  it('sends what a dead worker has leased when the lease ends', async () => {
    const events = world.events('polar', world.newCustomer('polar'), 3);
    await record(events);
    const repository = t.app.get(MeterExportsRepository);
    const until = new Date(clock.now().getTime() + MINUTE);
    const left = await repository.lease('polar', { now: clock.now(), until, limit: 1000 });
    expect(left).toHaveLength(3);
    expect(await dispatchers.polar.work()).toBe(false);
    clock.advance({ minutes: 1 });
    const late = await repository.lease('polar', { now: clock.now(), until: new Date(until.getTime() + MINUTE), limit: 1000 });
    // The first worker was only slow: its late writes belong to an attempt that is no longer current.
    await repository.refuse(left, 'too late');
    await repository.postpone(left, clock.now(), 'too late');
    expect(await exportsIn(t.db)).toMatchObject(late.map(() => ({ attempts: 2, last_error: null, next_attempt_at: expect.any(Date) })));
    clock.advance({ minutes: 1 });
    await workUntilIdle('polar');
    expect(world.tokensAt('polar')).toBe(tokensOf(events));
  });

  it('leaves its events to the next process when it stops', async () => {
    const events = world.events('polar', world.newCustomer('polar'), 5);
    await record(events);
    const stopping = new AbortController();
    world.onRequest.polar = () => stopping.abort();
    world.faults.polar.push('hang');
    await dispatchers.polar.work(stopping.signal);
    expect(await dispatchers.polar.work(stopping.signal)).toBe(false);
    clock.advance({ seconds: 1 });
    await workUntilIdle('polar');
    expect(world.tokensAt('polar')).toBe(tokensOf(events));
  });

  it('waits for more events when a batch is not full', async () => {
    const pauses: number[] = [];
    const pause = (async (ms: number) => pauses.push(ms)) as unknown as (typeof DISPATCH_LIMITS)['pause'];
    // Pauses are much longer than the time that passes during the test.
    dispatchers.polar = await manualDispatcher(t, 'polar', { batch: 4, pauseMs: 1_000_000, coalesceMs: 3_000_000, pause });
    await record(world.events('polar', world.newCustomer('polar'), 6));
    await workUntilIdle('polar');
    expect(world.requestsAt('polar')).toBe(2);
    expect([...new Set(pauses.map((ms) => Math.ceil(ms / 1_000_000)))]).toEqual([1, 4]);
  });

  it('sends the oldest first, and a failing batch does not block other events forever', async () => {
    const customerId = world.newCustomer('polar');
    for (let minute = 0; minute < 3; minute += 1) {
      await record(world.events('polar', customerId, 2, { model: `model-${minute}` }));
      clock.advance({ minutes: 1 });
    }
    dispatchers.polar = await manualDispatcher(t, 'polar', { batch: 2 });
    world.faults.polar.push({ status: 500 });
    await dispatchers.polar.work();
    clock.advance({ seconds: 2 });
    await workUntilIdle('polar');
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

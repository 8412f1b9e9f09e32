import fc from 'fast-check';
import { LeasedLimit } from '../../src/access/leases/leased-limit.js';
import { type LeaseGrant, type LeaseRequest, leaseTerms } from '../../src/access/leases/lease-terms.js';
import type { BucketState } from '../../src/access/rate-limits/buckets.js';
import { excessOf, SimulatedBuckets } from '../support/simulated-buckets.js';

/** Random numbers that repeat with their seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Processes that share buckets, in a time that only events advance. Milliseconds. */
class World {
  now = 0;
  readonly buckets = new SimulatedBuckets();
  readonly admitted: number[] = [];
  statements = 0;
  isDown = false;
  /** The latest first; of the same time, the last added first of all. */
  private readonly events: { at: number; work: () => void }[] = [];

  constructor(
    readonly terms: ReturnType<typeof leaseTerms>,
    private readonly latency: () => number,
  ) {}

  at(time: number, work: () => void): void {
    const at = Math.max(time, this.now);
    let [low, high] = [0, this.events.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.events[middle]!.at > at) low = middle + 1;
      else high = middle;
    }
    this.events.splice(low, 0, { at, work });
  }

  async run(): Promise<void> {
    const end = this.now + 3_600_000;
    for (let next = this.events.pop(); next !== undefined; next = this.events.pop()) {
      this.now = next.at;
      if (this.now > end) throw new Error('A process still looks after its callers an hour later');
      next.work();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** A process with a clock of its own. It dies at `diesAt`. */
  process(clock: number, diesAt = Infinity) {
    const limit = new LeasedLimit(this.terms, {
      now: () => this.now + clock,
      after: (milliseconds, work) => this.at(this.now + milliseconds, () => this.now < diesAt && work()),
      grant: (_, requests) => this.grant(requests),
    });
    const call = async (key = 'ada'): Promise<BucketState | undefined> => {
      if (this.now >= diesAt) return undefined;
      const answer = limit.spend(key);
      const spentAt = this.now;
      const state = await answer;
      // Calls of a statement are recorded when it runs.
      if (state.left !== undefined) this.admitted.push((answer instanceof Promise ? this.now : spentAt) * 1000);
      return state;
    };
    return { limit, call };
  }

  private grant(requests: LeaseRequest[]): Promise<LeaseGrant[]> {
    return new Promise((resolve, reject) => {
      this.at(this.now + this.latency(), () => {
        if (this.isDown) return reject(new Error('The database is unavailable'));
        this.statements += 1;
        const grants = this.buckets.grant(this.terms, requests, this.now * 1000);
        for (const { admitted } of grants) for (let call = 0; call < admitted; call += 1) this.admitted.push(this.now * 1000);
        this.at(this.now + this.latency(), () => resolve(grants));
      });
    });
  }
}

const instant = () => 1;

describe('leased calls', () => {
  it('never exceed the limit, with any processes, crashes, outages and older versions', async () => {
    const scenario = fc.record({
      seed: fc.integer(),
      limit: fc.constantFrom(100, 300, 1000),
      windowSeconds: fc.constantFrom(10, 60),
      processes: fc.integer({ min: 1, max: 4 }),
      latency: fc.constantFrom(2, 20, 400),
      callers: fc.integer({ min: 1, max: 2 }),
      /** The steady calls, as a part of the limit. */
      load: fc.double({ min: 0.3, max: 1.5, noNaN: true }),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ seed, limit, windowSeconds, processes, latency, callers, load }) => {
        const random = randomOf(seed);
        const world = new World(leaseTerms({ limit, windowSeconds }), () => random() * latency);
        const start = () => world.process(random() * 1e6, random() < 0.3 ? random() * 20_000 : Infinity);
        const running = Array.from({ length: processes }, start);
        const duration = 12_000;
        const keyOf = () => `caller ${Math.floor(random() * callers)}`;
        const send = (time: number, one: (typeof running)[number], key: string) =>
          key === 'caller 0' && world.at(time, () => void one.call(key).catch(() => undefined));
        // Steady use, from which all processes hold leases.
        const steady = Math.ceil((load * limit * callers * duration) / 1000 / windowSeconds);
        for (let call = 0; call < steady; call += 1) send(random() * duration, running[Math.floor(random() * processes)]!, keyOf());
        // Bursts that spend the limit at one process, while the others hold theirs, and calls of an older version.
        for (let burst = 0; burst < 3; burst += 1) {
          const [time, one] = [random() * duration, running[Math.floor(random() * processes)]!];
          for (let call = 0; call < limit * 1.1; call += 1) send(time, one, 'caller 0');
        }
        for (let call = 0; call < steady / 20; call += 1) {
          const time = random() * duration;
          world.at(time, () => world.buckets.consume(world.terms, 'caller 0', time * 1000) && world.admitted.push(time * 1000));
        }
        if (random() < 0.3)
          for (const [time, isDown] of [
            [4000, true],
            [9000, false],
          ] as const)
            world.at(time, () => (world.isDown = isDown));
        await world.run();
        expect(excessOf(world.terms, world.admitted)).toBe(0);
      }),
      { numRuns: 60 },
    );
  }, 120_000);

  it('cost one statement in many calls, in steady use', async () => {
    const world = new World(leaseTerms({ limit: 1000, windowSeconds: 60 }), instant);
    const { call } = world.process(0);
    const callers = 200;
    for (let turn = 0; turn < callers * 80; turn += 1) {
      const caller = `caller ${turn % callers}`;
      world.at((turn / callers) * 250 + (turn % 7), () => void call(caller));
    }
    await world.run();
    expect(world.statements / (callers * 80)).toBeLessThan(0.1);
  }, 60_000);

  it('are given back when their caller is gone, and on shutdown', async () => {
    const terms = leaseTerms({ limit: 1000, windowSeconds: 60 });
    const world = new World(terms, instant);
    const { limit, call } = world.process(0);
    for (let turn = 0; turn < 40; turn += 1) world.at(turn * 100, () => void call());
    let held = 0;
    world.at(4100, () => (held = world.buckets.wholeAt.get('ada')!));
    world.at(9000, () => expect(limit.size).toBe(0));
    await world.run();
    expect(world.buckets.wholeAt.get('ada')!).toBeLessThan(held);
    expect(world.admitted).toHaveLength(40);

    const other = world.process(5);
    for (let turn = 0; turn < 40; turn += 1) world.at(20_000 + turn * 100, () => void other.call('bob'));
    let before = 0;
    world.at(24_000, () => {
      before = world.buckets.wholeAt.get('bob')!;
      void other.limit.close();
    });
    let after = 0;
    world.at(24_010, () => (after = world.buckets.wholeAt.get('bob')!));
    await world.run();
    expect(after).toBeLessThan(before);
  });

  it('are forgotten when their caller is gone, in any race with an outage', async () => {
    for (let callsAgainAt = 2000; callsAgainAt < 8000; callsAgainAt += 100) {
      const world = new World(leaseTerms({ limit: 300, windowSeconds: 10 }), () => 200);
      const { limit, call } = world.process(0);
      const send = (time: number, key: string) => world.at(time, () => void call(key).catch(() => undefined));
      for (let time = 0; time < 2000; time += 50) send(time, 'ada');
      for (let time = 0; time < 8000; time += 40) send(time, 'bob');
      send(callsAgainAt, 'ada');
      world.at(callsAgainAt, () => (world.isDown = true));
      await world.run();
      expect(limit.size).toBe(0);
    }
  });

  it('let no call through after they end, while the database is unavailable', async () => {
    const world = new World(leaseTerms({ limit: 1000, windowSeconds: 60 }), instant);
    const { call } = world.process(0);
    for (let turn = 0; turn < 60; turn += 1) world.at(turn * 100, () => void call());
    const outcomes: string[] = [];
    world.at(6001, () => {
      world.isDown = true;
    });
    for (const time of [6010, 9100, 9200, 9300])
      world.at(
        time,
        () =>
          void call().then(
            (state) => outcomes.push(String(state!.allowed)),
            (error: Error) => outcomes.push(error.message),
          ),
      );
    await world.run();
    expect(outcomes).toEqual(['true', ...Array.from({ length: 3 }, () => 'The database is unavailable')]);
  });

  it('are not taken for the first call of a caller, for a small limit, or near the limit', async () => {
    for (const [limit, windowSeconds, calls] of [
      [1000, 60, 1],
      [99, 60, 60],
      [1000, 5, 60],
      [100, 3600, 95],
    ] as const) {
      const terms = leaseTerms({ limit, windowSeconds });
      const world = new World(terms, instant);
      const { call } = world.process(0);
      const states: (BucketState | undefined)[] = [];
      for (let turn = 0; turn < calls; turn += 1) world.at(turn * 10, () => void call().then((state) => states.push(state)));
      await world.run();
      const last = states.at(-1)!;
      expect(last.left).toBeUndefined();
      expect(states).toHaveLength(calls);
    }
  });

  it('show at most what the limit still lets through, over two processes in turn', async () => {
    const terms = leaseTerms({ limit: 300, windowSeconds: 60 });
    const world = new World(terms, instant);
    const processes = [world.process(0), world.process(17)];
    let isTooLarge = 0;
    let shown = 0;
    const look = async ({ call }: ReturnType<World['process']>) => {
      const { allowed, left, secondsUntilFull } = (await call())!;
      if (!allowed) return;
      const remaining = left ?? Math.floor((terms.window - secondsUntilFull * 1e6) / terms.interval + 1e-6);
      if (remaining > 0) shown += 1;
      if (remaining > spare(terms, world.admitted, world.now * 1000)) isTooLarge += 1;
    };
    for (let turn = 0; turn < 800; turn += 1) {
      world.at(turn * 30, () => void look(processes[turn % 2]!));
    }
    await world.run();
    expect(isTooLarge).toBe(0);
    expect(shown).toBeGreaterThan(200);
  });

  it('share statements, and admit exactly what remains when too many wait', async () => {
    const world = new World(leaseTerms({ limit: 600, windowSeconds: 60 }), instant);
    const { call } = world.process(0);
    const states: BucketState[] = [];
    world.at(0, () => {
      for (let turn = 0; turn < 1000; turn += 1) void call().then((state) => states.push(state!));
    });
    await world.run();
    expect(states.filter(({ allowed }) => allowed)).toHaveLength(600);
    expect(world.statements).toBeLessThan(5);
  });
});

/** The calls that the limit would let through at this moment, after these. */
function spare({ interval, window }: ReturnType<typeof leaseTerms>, calls: readonly number[], now: number): number {
  let wholeAt = -Infinity;
  for (const at of calls) wholeAt = Math.max(wholeAt, at) + interval;
  return Math.floor((window - Math.max(0, wholeAt - now)) / interval + 1e-6);
}

import fc from 'fast-check';
import type { BillingPeriod } from '../../subscriptions/sync/billing-provider.port.js';
import type { Entitlement } from '../../subscriptions/entitlements/entitlements.service.js';
import { MAX_TOKENS } from '../quotas/quota-balance.js';
import { MeteredOwner } from '../quotas/metered-owner.js';
import { LedgerDecider } from './ledger-decider.js';
import { quotaKeysOf } from './locked-quotas.js';
import type { AttributedEvent, Operation, OperationResult } from './operations.js';
import { parseUsageEvent } from '../events/usage-event.schema.js';
import { fingerprintOf } from '../events/usage-fingerprint.js';
import type { UsageHold } from '../holds/usage-holds.table.js';
import type { UsageQuota } from '../quotas/usage-quotas.table.js';
import type { NewUsageRecord } from '../events/usage-events.table.js';
import type { UsageRollup } from '../rollups/usage-rollups.table.js';
import { DAY_MS, MINUTE_MS } from '../../platform/time/durations.js';

const CREATED = new Date('2026-01-31T10:00:00Z');
const BEGIN = new Date('2026-06-15T12:00:00Z');
const OWNERS = ['01980a3e-7c1d-7f6a-b1c2-3d4e5f607181', '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182'];
const USERS = ['01980a3e-7c1d-7f6a-b1c2-3d4e5f607191', '01980a3e-7c1d-7f6a-b1c2-3d4e5f607192'] as const;
const OLDEST_MS = 90 * DAY_MS;
const MAX_FUTURE_MS = 5 * MINUTE_MS;
const LIMITS = { tokensPerPeriod: 100 as number | null, tokenLimit: 'hard', requestsPerMinute: null, tokensPerMinute: null } as const;

type Limits = Partial<Entitlement['plan']['limits']>;

/** The tables in memory, and the steps that the ledger does around its decisions. */
class World {
  now = BEGIN;
  readonly events: NewUsageRecord[] = [];
  readonly rollups = new Map<string, number>();
  readonly quotas = new Map<string, UsageQuota>();
  readonly holds = new Map<string, UsageHold>();
  readonly alerts: string[] = [];
  private readonly plans = new Map<string, Entitlement>();

  constructor(private readonly limits: Limits = {}) {}

  /** Puts the owner on a plan that was bought, or back on the free plan. */
  changePlan(ownerId: string, isBought: boolean, limits: Limits = this.limits): void {
    this.putPlan(ownerId, isBought ? [{ start: this.now, end: new Date('9999-12-31') }] : undefined, limits);
  }

  /** Another interval of the same subscription: its provider begins a new period now. */
  switchInterval(ownerId: string, days: number): void {
    const earlier = this.plans.get(ownerId)?.periods?.list ?? [];
    const end = new Date(this.now.getTime() + days * DAY_MS);
    this.putPlan(ownerId, [...earlier, { start: this.now, end }]);
  }

  private putPlan(ownerId: string, list: BillingPeriod[] | undefined, limits: Limits = this.limits): void {
    const periods = list && { list, isLastFinal: false };
    this.plans.set(ownerId, { plan: { limits: { ...LIMITS, ...limits } }, periods } as Entitlement);
  }

  meteredOwner(ownerId: string): MeteredOwner {
    if (!this.plans.has(ownerId)) this.changePlan(ownerId, false);
    return new MeteredOwner({ kind: 'organization', id: ownerId }, this.plans.get(ownerId)!, CREATED);
  }

  /** Decides about the operations as one group; throws when a sum is wrong afterwards. */
  commit(group: Operation[]): OperationResult[] {
    const { now } = this;
    const owners = new Map(group.map(({ owner: { id } }) => [id, this.meteredOwner(id)]));
    const known = { now, oldestAcceptedTime: new Date(now.getTime() - OLDEST_MS), owners, members: [] };
    const rows = quotaKeysOf(group, known).map((key) => {
      const id = `${key.ownerId} ${key.periodStart.toISOString()}`;
      const none = { used: 0, overrun: 0, held: 0, alerted: 0, requestsOwed: 0, tokensOwed: 0, owedAt: 0 };
      if (!this.quotas.has(id)) this.quotas.set(id, { ...key, ...none, createdAt: now, updatedAt: now });
      return this.quotas.get(id)!;
    });
    const expired = [...this.holds.values()].filter(
      (hold) => hold.status === 'live' && hold.expiresAt <= now && rows.some((row) => isOf(row, hold)),
    );
    for (const hold of expired) hold.status = 'expired';
    const decisions = new LedgerDecider({
      ...known,
      quotas: rows.map((row) => ({ ...row })),
      expiredHolds: expired.map((hold) => ({ ...hold })),
      holds: [...this.holds.values()],
      recordedIds: this.events.map(({ ownerId, eventId, fingerprint }) => ({ ownerId, eventId, fingerprint })),
    });
    const results = group.map((operation) => structuredClone(decisions.decide(operation)));
    const changes = decisions.writes();
    this.events.push(...changes.events);
    for (const rollup of changes.rollups) this.rollups.set(keyOf(rollup), (this.rollups.get(keyOf(rollup)) ?? 0) + rollup.tokensUsed);
    for (const row of changes.quotas) this.quotas.set(`${row.ownerId} ${row.periodStart.toISOString()}`, row);
    for (const hold of [...changes.newHolds, ...changes.endedHolds]) this.holds.set(`${hold.ownerId} ${hold.id}`, hold);
    this.alerts.push(...changes.alerts.map(({ ownerId, periodStart, threshold }) => JSON.stringify([ownerId, periodStart, threshold])));
    const wrong = this.mistakes();
    if (wrong.length > 0) throw new Error(wrong.join('\n'));
    return results;
  }

  /** The sums that differ from the sum of their rows. */
  private mistakes(): string[] {
    const wrong = [...this.quotas.values()].flatMap((row) => {
      const events = this.events.filter((event) => isOf(row, event));
      const held = sum([...this.holds.values()].filter((hold) => hold.status === 'live' && isOf(row, hold)).map(({ tokens }) => tokens));
      const wanted = { used: sum(events.map(({ tokensUsed }) => tokensUsed)), overrun: sum(events.map(({ overrun }) => overrun)), held };
      const { used, overrun, held: found } = row;
      const isRight = JSON.stringify(wanted) === JSON.stringify({ used, overrun, held: found });
      return isRight ? [] : [`${row.periodStart.toISOString()}: ${JSON.stringify({ wanted, row })}`];
    });
    const wanted = new Map<string, number>();
    for (const event of this.events) {
      const hour = new Date(Math.floor(event.occurredAt.getTime() / (60 * MINUTE_MS)) * 60 * MINUTE_MS);
      wanted.set(keyOf({ ...event, hour }), (wanted.get(keyOf({ ...event, hour })) ?? 0) + event.tokensUsed);
    }
    if (JSON.stringify([...wanted].sort()) !== JSON.stringify([...this.rollups].sort())) wrong.push('rollups');
    const ids = this.events.map(({ ownerId, eventId }) => `${ownerId} ${eventId}`);
    if (new Set(ids).size !== ids.length) wrong.push('an event is there twice');
    return wrong;
  }
}

const isOf = (row: UsageQuota, one: { ownerId: string; periodStart: Date }) =>
  row.ownerId === one.ownerId && row.periodStart.getTime() === one.periodStart.getTime();
const keyOf = ({ ownerId, hour, model, actorUserId }: Pick<UsageRollup, 'ownerId' | 'hour' | 'model' | 'actorUserId'>) =>
  JSON.stringify([ownerId, hour, model, actorUserId]);
const sum = (values: number[]) => values.reduce((all, value) => all + value, 0);
const [OWNER] = OWNERS as [string];

function eventOf(given: object, now = BEGIN): AttributedEvent {
  const answer = parseUsageEvent({ eventId: 'e', model: 'm', ...given }, 'body');
  if ('errors' in answer) throw new Error(JSON.stringify(answer.errors));
  const { userId, occurredAt = now } = answer.event;
  const actorUserId = userId ?? null;
  const fingerprint = fingerprintOf(answer.event.content, actorUserId);
  return { ...answer.event, occurredAt, actorUserId, fingerprint, needsMembershipCheck: false };
}
const owner = { kind: 'organization' as const, id: OWNER };
const record = (...events: object[]): Operation => ({ kind: 'record', owner, events: events.map((one) => eventOf(one)) });
const hold = (id: string, tokens: number, ttlMs = MINUTE_MS): Operation => ({
  kind: 'hold',
  owner,
  hold: { id, tokens, model: null, actorUserId: null, ttlMs, needsMembershipCheck: false },
});
const settle = (world: World, id: string, event: object): Operation => ({
  kind: 'settle',
  owner,
  hold: { ...world.holds.get(`${OWNER} ${id}`)! },
  event: eventOf(event, world.now),
});
const release = (world: World, id: string): Operation => ({ kind: 'release', owner, hold: { ...world.holds.get(`${OWNER} ${id}`)! } });
const outcomesOf = ({ events }: OperationResult) => events.map(({ outcome, reason }) => reason ?? outcome);

describe('the ledger decider', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });

  it('sees the earlier decisions of the same group', () => {
    const results = world.commit([
      record({ eventId: 'a', tokens: 10 }, { eventId: 'a', tokens: 10 }, { eventId: 'a', tokens: 11 }),
      record({ eventId: 'a', tokens: 10 }),
      record({ eventId: 'b', tokens: 90 }, { eventId: 'c', tokens: 1 }, { eventId: 'd', tokens: 0 }),
      hold('h', 1),
    ]);
    expect(results.map(outcomesOf)).toEqual([
      ['inserted', 'duplicate', 'conflict'],
      ['duplicate'],
      ['inserted', 'quota_exceeded', 'inserted'],
      [],
    ]);
    expect(results.map(({ quota: { used } }) => used)).toEqual([10, 10, 100, 100]);
    expect(results[3]!.refused).toBe('quota_exceeded');
  });

  it('accepts an event that was refused before when there is room again', () => {
    world.commit([hold('h', 60)]);
    expect(outcomesOf(world.commit([record({ eventId: 'a', tokens: 41 })])[0]!)).toEqual(['quota_exceeded']);
    world.commit([release(world, 'h')]);
    expect(outcomesOf(world.commit([record({ eventId: 'a', tokens: 41 })])[0]!)).toEqual(['inserted']);
  });

  it('keeps the users of a batch apart: two users in one hour and model share no rollup', () => {
    const [ada, bob] = USERS;
    world.commit([
      record({ eventId: 'a', tokens: 1, userId: ada }, { eventId: 'b', tokens: 10, userId: bob }, { eventId: 'c', tokens: 20 }),
      record({ eventId: 'd', tokens: 2, userId: ada }),
    ]);
    const hour = new Date('2026-06-15T12:00:00Z');
    const tokensOf = (actorUserId: string | null) => world.rollups.get(keyOf({ ownerId: OWNER, hour, model: 'm', actorUserId }));
    expect([tokensOf(ada), tokensOf(bob), tokensOf(null)]).toEqual([3, 10, 20]);
  });

  it('accepts the oldest and the latest event that may be recorded, and none a millisecond beyond', () => {
    const at = (offsetMs: number) => ({ occurredAt: new Date(BEGIN.getTime() + offsetMs).toISOString(), tokens: 1 });
    const [result] = world.commit([
      record(
        { eventId: 'too old', ...at(-OLDEST_MS - 1) },
        { eventId: 'oldest', ...at(-OLDEST_MS) },
        { eventId: 'latest', ...at(MAX_FUTURE_MS) },
        { eventId: 'too late', ...at(MAX_FUTURE_MS + 1) },
      ),
    ]);
    expect(outcomesOf(result!)).toEqual(['too_old', 'inserted', 'inserted', 'in_the_future']);
  });

  describe('for a hold', () => {
    beforeEach(() => {
      world.commit([hold('h', 60)]);
    });
    const later = () => (world.now = new Date(world.now.getTime() + 2 * MINUTE_MS));
    const stateOf = () => {
      const [row] = world.quotas.values();
      return { used: row!.used, overrun: row!.overrun, held: row!.held, status: world.holds.get(`${OWNER} h`)!.status };
    };

    it('returns the same hold when it is repeated, also after it has ended, and refuses another hold with its id', () => {
      const [again, other] = world.commit([hold('h', 60), hold('h', 61)]);
      expect([again!.hold!.status, again!.quota.held, other!.refused]).toEqual(['live', 60, 'hold_conflict']);
      world.commit([release(world, 'h')]);
      expect(world.commit([hold('h', 60)])[0]!.hold!.status).toBe('released');
      expect(stateOf().held).toBe(0);
    });

    it.each([
      ['less', 20, { used: 20, overrun: 0 }],
      ['nothing', 0, { used: 0, overrun: 0 }],
      ['all', 60, { used: 60, overrun: 0 }],
      ['more', 75, { used: 75, overrun: 15 }],
      ['more than there is', 500, { used: 500, overrun: 440 }],
    ])('settle it with %s', (_, tokens, wanted) => {
      const [result] = world.commit([settle(world, 'h', { tokens })]);
      expect([outcomesOf(result!), result!.hold!.status]).toEqual([['inserted'], 'settled']);
      expect(stateOf()).toEqual({ ...wanted, held: 0, status: 'settled' });
    });

    it('settles it once: a repeated settle is a duplicate, and another event is refused', () => {
      world.commit([settle(world, 'h', { tokens: 20 })]);
      const results = world.commit([
        settle(world, 'h', { tokens: 20 }),
        settle(world, 'h', { tokens: 21 }),
        settle(world, 'h', { eventId: 'f', tokens: 20 }),
        release(world, 'h'),
      ]);
      expect(results.map(({ refused, events }) => refused ?? events[0]!.outcome)).toEqual([
        'duplicate',
        'conflict',
        'hold_settled',
        'hold_settled',
      ]);
      expect(stateOf()).toEqual({ used: 20, overrun: 0, held: 0, status: 'settled' });
    });

    it('settles or releases a hold that was removed before it was locked, according to its last status', () => {
      world.commit([release(world, 'h')]);
      const late = [release(world, 'h'), settle(world, 'h', { tokens: 20 })];
      world.holds.clear();
      const [released, settled] = world.commit(late) as [OperationResult, OperationResult];
      expect(released.hold!.status).toBe('released');
      expect([outcomesOf(settled), settled.quota.used, settled.quota.overrun, settled.quota.held]).toEqual([['inserted'], 20, 20, 0]);
    });

    it('counts the settle of a released or expired hold as overrun', () => {
      world.commit([release(world, 'h'), release(world, 'h')]);
      world.commit([settle(world, 'h', { tokens: 20 })]);
      expect(stateOf()).toEqual({ used: 20, overrun: 20, held: 0, status: 'settled' });
      world.commit([hold('i', 80)]);
      later();
      const [result] = world.commit([settle(world, 'i', { eventId: 'f', tokens: 30 })]);
      expect(result!.quota).toMatchObject({ used: 50, overrun: 50, held: 0, remaining: 50 });
    });

    it('frees its tokens exactly when it expires', () => {
      world.now = new Date(world.now.getTime() + MINUTE_MS - 1);
      expect(outcomesOf(world.commit([record({ tokens: 41 })])[0]!)).toEqual(['quota_exceeded']);
      world.now = new Date(world.now.getTime() + 1);
      expect(outcomesOf(world.commit([record({ tokens: 41 })])[0]!)).toEqual(['inserted']);
      expect(stateOf()).toEqual({ used: 41, overrun: 0, held: 0, status: 'expired' });
    });

    it('reports it as expired, also in another period', () => {
      world.now = new Date(world.now.getTime() + 60 * DAY_MS);
      expect(world.commit([hold('h', 60)])[0]!.hold!.status).toBe('expired');
    });

    it('reports a hold of an earlier period as live until the moment it expires, and as expired from then on', () => {
      const ofNow = world.meteredOwner(OWNER).periodAt(world.now);
      const madeAt = ofNow.end.getTime() - 1000;
      world.now = new Date(madeAt);
      world.commit([hold('i', 10)]);
      world.now = new Date(madeAt + MINUTE_MS - 1);
      expect(world.commit([hold('i', 10)])[0]!.hold!.status).toBe('live');
      world.now = new Date(madeAt + MINUTE_MS);
      expect(world.commit([hold('i', 10)])[0]!.hold!.status).toBe('expired');
    });

    it('frees the tokens in the hold’s own period, and counts the event in the period where it happened', () => {
      const previous = world.now;
      world.now = new Date(previous.getTime() + 20 * DAY_MS);
      world.commit([hold('i', 50, DAY_MS)]);
      const [result] = world.commit([settle(world, 'i', { occurredAt: previous.toISOString(), tokens: 50 })]);
      expect(result!.quota).toMatchObject({ used: 0, held: 0 });
      expect(stateOf()).toMatchObject({ used: 50, overrun: 50, held: 0 });
    });

    it('accepts a hold and its end in one group with others', () => {
      const results = world.commit([settle(world, 'h', { tokens: 10 }), hold('i', 90), hold('j', 1), release(world, 'h')]);
      expect(results.map(({ refused }) => refused)).toEqual([undefined, undefined, 'quota_exceeded', 'hold_settled']);
    });
  });

  it('refuses no settle that can be counted at all', () => {
    world.changePlan(OWNER, false, { tokensPerPeriod: null });
    world.commit([hold('h', MAX_TOKENS)]);
    expect(outcomesOf(world.commit([settle(world, 'h', { tokens: MAX_TOKENS })])[0]!)).toEqual(['inserted']);
    expect(outcomesOf(world.commit([record({ eventId: 'f', tokens: 1 })])[0]!)).toEqual(['count_too_large']);
  });

  describe('with a limit of tokens per minute', () => {
    const owedAfter = (tokens: number) => {
      world.changePlan(OWNER, false, { tokensPerPeriod: null, tokensPerMinute: 100 });
      world.commit([hold('h', 60)]);
      world.commit([settle(world, 'h', { tokens })]);
      return [...world.quotas.values()].map(({ tokensOwed }) => tokensOwed);
    };

    it.each([0, 20, 60])('takes nothing more from the minute when a hold of 60 is settled with %d', (tokens) => {
      expect(owedAfter(tokens)).toEqual([60]);
    });

    it('takes from the minute only what a settle uses beyond its hold', () => {
      expect(owedAfter(75)).toEqual([75]);
    });
  });

  describe('across periods', () => {
    const periodOf = (at: string) => {
      const { start, end } = world.meteredOwner(OWNER).periodAt(new Date(at));
      return [start.toISOString(), end.toISOString()];
    };

    it('counts in the periods of the free plan before the subscription starts, and in the subscription’s periods from then on', () => {
      expect(periodOf('2026-06-15T12:00:00Z')).toEqual(['2026-05-31T10:00:00.000Z', '2026-06-30T10:00:00.000Z']);
      world.commit([record({ eventId: 'a', tokens: 90 })]);
      world.changePlan(OWNER, true);
      expect(periodOf('2026-06-15T12:00:00Z')).toEqual(['2026-06-15T12:00:00.000Z', '2026-07-15T12:00:00.000Z']);
      expect(periodOf('2026-06-15T11:59:59.999Z')).toEqual(['2026-05-31T10:00:00.000Z', '2026-06-30T10:00:00.000Z']);
      const [result] = world.commit([
        record(
          { eventId: 'b', tokens: 100 },
          { eventId: 'c', tokens: 10, occurredAt: '2026-06-15T11:00:00Z' },
          { eventId: 'd', tokens: 1 },
        ),
      ]);
      expect(outcomesOf(result!)).toEqual(['inserted', 'inserted', 'quota_exceeded']);
    });

    it('carries the used and held tokens of a period that was cut short into the next one', () => {
      world.switchInterval(OWNER, 30);
      world.commit([record({ eventId: 'a', tokens: 50 }), hold('h', 20)]);
      world.now = new Date(world.now.getTime() + MINUTE_MS / 2);
      world.switchInterval(OWNER, 365);
      const [result] = world.commit([
        record(
          { eventId: 'b', tokens: 25, occurredAt: world.now.toISOString() },
          { eventId: 'c', tokens: 6 },
          { eventId: 'd', tokens: 5 },
          { eventId: 'e', tokens: 1, occurredAt: world.now.toISOString() },
        ),
      ]);
      expect(outcomesOf(result!)).toEqual(['inserted', 'quota_exceeded', 'inserted', 'quota_exceeded']);
      expect(result!.quota).toMatchObject({ used: 80, carried: 55, held: 20, remaining: 0, start: world.now });
      world.commit([release(world, 'h')]);
      expect(world.commit([hold('i', 20)])[0]!.quota).toMatchObject({ used: 80, held: 20, remaining: 0 });
    });

    it('grants no more than the limit in a day, however often the owner switches plans and backdates events', () => {
      const tokens = fc.integer({ min: 0, max: 60 });
      const step = fc.oneof(
        fc.record({ kind: fc.constant('switch' as const), days: fc.constantFrom(7, 30, 31, 365) }),
        fc.record({ kind: fc.constant('record' as const), tokens, agoMs: fc.integer({ min: 0, max: DAY_MS }) }),
        fc.record({ kind: fc.constant('hold' as const), tokens }),
        fc.record({ kind: fc.constant('settle' as const), tokens }),
      );
      fc.assert(
        fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: DAY_MS / 20 }), step), { maxLength: 20 }), (steps) => {
          world = new World();
          world.switchInterval(OWNER, 30);
          for (const [index, [waitMs, one]] of steps.entries()) {
            world.now = new Date(world.now.getTime() + waitMs);
            if (one.kind === 'switch') world.switchInterval(OWNER, one.days);
            else if (one.kind === 'hold') world.commit([hold(`h${index}`, one.tokens, DAY_MS)]);
            else if (one.kind === 'settle') {
              const live = [...world.holds.values()].find(({ status }) => status === 'live');
              if (live !== undefined) world.commit([settle(world, live.id, { eventId: `${index}`, tokens: one.tokens })]);
            } else {
              const occurredAt = new Date(Math.max(BEGIN.getTime(), world.now.getTime() - one.agoMs)).toISOString();
              world.commit([record({ eventId: `${index}`, tokens: one.tokens, occurredAt })]);
            }
          }
          const held = sum([...world.holds.values()].filter(({ status }) => status === 'live').map((one) => one.tokens));
          const admitted = sum(world.events.map((event) => event.tokensUsed - event.overrun));
          expect(admitted + held).toBeLessThanOrEqual(LIMITS.tokensPerPeriod!);
        }),
      );
    });

    it('finds a hold of an earlier plan, and frees its tokens', () => {
      world.commit([hold('h', 100)]);
      world.now = new Date(world.now.getTime() + 1000);
      world.changePlan(OWNER, true);
      const [result] = world.commit([settle(world, 'h', { tokens: 100 })]);
      expect(result!.quota).toMatchObject({ used: 100, overrun: 100, held: 0, remaining: 0 });
      world.changePlan(OWNER, false);
      expect(outcomesOf(world.commit([record({ eventId: 'f', tokens: 100 })])[0]!)).toEqual(['inserted']);
    });

    it('counts an event from a clock that is ahead in the next period', () => {
      world.now = new Date('2026-06-30T09:58:00Z');
      const [result] = world.commit([record({ tokens: 100, occurredAt: '2026-06-30T10:02:00Z' }, { eventId: 'f', tokens: 100 })]);
      expect(outcomesOf(result!)).toEqual(['inserted', 'inserted']);
      expect(result!.quota).toMatchObject({ used: 100, end: new Date('2026-06-30T10:00:00Z') });
    });
  });

  it('decides the same in groups as one by one, and every sum is right after each', () => {
    const id = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const tokens = fc.constantFrom(0, 1, 10, 40, 60, 100, 150);
    // Some in the last two months, some in the next period.
    const ageMs = fc.constantFrom(0, 0, 0, 1000, DAY_MS, 20 * DAY_MS, 50 * DAY_MS, 200 * DAY_MS, -4 * MINUTE_MS, -10 * MINUTE_MS);
    const userId = fc.constantFrom(undefined, undefined, ...USERS);
    const event = fc.record({ id, tokens, ageMs, userId });
    const choice = fc.oneof(
      fc.record({ kind: fc.constant('record' as const), events: fc.array(event, { minLength: 1, maxLength: 3 }) }),
      fc.record({ kind: fc.constant('hold' as const), id, tokens, ttlMs: fc.constantFrom(1000, 3 * MINUTE_MS, DAY_MS) }),
      fc.record({ kind: fc.constant('settle' as const), id, event }),
      fc.record({ kind: fc.constant('release' as const), id }),
    );
    const step = fc.record({
      waitMs: fc.constantFrom(0, 1000, MINUTE_MS, 5 * MINUTE_MS, DAY_MS, 25 * DAY_MS),
      plan: fc.constantFrom('as it is', 'as it is', 'as it is', 'bought', 'free'),
      choices: fc.array(fc.tuple(fc.constantFrom(0, 1), choice), { minLength: 1, maxLength: 6 }),
    });
    const limits = { tokensPerPeriod: 100, requestsPerMinute: 10, tokensPerMinute: 200 };
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
        const [together, alone] = [new World(limits), new World(limits)];
        for (const { waitMs, plan, choices } of steps) {
          const results = [together, alone].map((one) => {
            one.now = new Date(one.now.getTime() + waitMs);
            if (plan !== 'as it is') one.changePlan(OWNER, plan === 'bought');
            const group = choices.flatMap(([whose, given]) => operationOf(one, OWNERS[whose]!, given));
            return one === together ? one.commit(group) : group.flatMap((operation) => one.commit([operation]));
          });
          expect(results[0]).toEqual(results[1]);
          for (const { used, overrun, held } of together.quotas.values()) expect(used - overrun + held).toBeLessThanOrEqual(100);
        }
        expect(together.events).toEqual(alone.events);
        expect(together.alerts.sort()).toEqual(alone.alerts.sort());
      }),
      { numRuns: 150 },
    );

    type Given = typeof choice extends fc.Arbitrary<infer T> ? T : never;
    function operationOf(one: World, ownerId: string, given: Given): Operation[] {
      const asked = { owner: { kind: 'organization' as const, id: ownerId } };
      const eventFor = ({ id: eventId, tokens: count, ageMs: age, userId: by }: typeof event extends fc.Arbitrary<infer T> ? T : never) =>
        eventOf({ eventId, tokens: count, occurredAt: new Date(one.now.getTime() - age).toISOString(), ...(by && { userId: by }) });
      if (given.kind === 'record') return [{ ...asked, kind: 'record', events: given.events.map(eventFor) }];
      if (given.kind === 'hold') {
        const { id: holdId, tokens: count, ttlMs } = given;
        return [
          {
            ...asked,
            kind: 'hold',
            hold: { id: holdId, tokens: count, ttlMs, model: null, actorUserId: null, needsMembershipCheck: false },
          },
        ];
      }
      const found = one.holds.get(`${ownerId} ${given.id}`);
      if (found === undefined) return [];
      const before = { ...found };
      return [
        given.kind === 'settle'
          ? { ...asked, kind: 'settle', hold: before, event: eventFor(given.event) }
          : { ...asked, kind: 'release', hold: before },
      ];
    }
  });
});

import type { Owner } from '../../owners/owner.js';
import type { UsageAlert } from '../alerts/usage-alerts.table.js';
import { QuotaBalance } from '../quotas/quota-balance.js';
import type { MeteredOwner } from '../quotas/metered-owner.js';
import { MAX_FUTURE_MS } from '../events/usage-event.js';
import { isSameEvent } from '../events/usage-fingerprint.js';
import type { UsagePeriod } from '../quotas/usage-period.js';
import type { UsageHold } from '../holds/usage-holds.table.js';
import {
  type EventResult,
  eventsOf,
  type GivenEvent,
  type HoldOperation,
  type Operation,
  type Quota,
  type RecordOperation,
  type Rejection,
  type ReleaseOperation,
  type Result,
  type SettleOperation,
} from './operations.js';
import type { UsageQuota } from '../quotas/usage-quotas.table.js';
import type { EventIdKey, NewUsage, QuotaKey, Rollup } from './usage.repository.js';
import { HOUR_MS, MINUTE_MS } from '../../platform/time/durations.js';

/** What was read, under the locks of the quotas. */
export interface LedgerSnapshot {
  now: Date;
  /** The oldest events that are taken. */
  oldest: Date;
  customers: Map<string, MeteredOwner>;
  quotas: UsageQuota[];
  holds: UsageHold[];
  /** Holds that were live until they were read and are past their end: their tokens are back. */
  expired: Pick<UsageHold, 'ownerId' | 'periodStart' | 'tokens'>[];
  known: (EventIdKey & { fingerprint: Buffer })[];
  members: { organizationId: string; userId: string }[];
}

/** What is to be written. */
export interface LedgerWrites {
  events: NewUsage[];
  rollups: Rollup[];
  quotas: UsageQuota[];
  newHolds: UsageHold[];
  endedHolds: UsageHold[];
  alerts: UsageAlert[];
}

interface Account {
  account: QuotaBalance;
  row: UsageQuota;
}

/**
 * Decides about operations one after the other, as if each were alone, and collects what is to be written for all of
 * them together. Reads and writes nothing itself: what it needs to know was read under the locks that the caller holds.
 */
export class LedgerDecider {
  private readonly accounts: Map<string, Account>;
  private readonly holds: Map<string, UsageHold>;
  private readonly known: Map<string, Buffer>;
  private readonly members: Set<string>;
  private readonly events: NewUsage[] = [];
  private readonly newHolds: UsageHold[] = [];
  private readonly endedHolds = new Map<string, UsageHold>();

  constructor(private readonly books: LedgerSnapshot) {
    const now = books.now.getTime();
    this.accounts = new Map(
      books.quotas.map((row) => {
        const { limits } = books.customers.get(row.ownerId)!.entitlement.plan;
        const { used, overrun, held, alerted, requestsOwed, tokensOwed, owedAt } = row;
        const state = { used, overrun, held, alerted, requestsOwed, tokensOwed, owedAt };
        return [keyOf(row.ownerId, row.periodStart.getTime()), { row, account: new QuotaBalance(state, limits, now) }];
      }),
    );
    this.carry();
    for (const { ownerId, periodStart, tokens } of books.expired)
      this.accounts.get(keyOf(ownerId, periodStart.getTime()))!.account.giveBack(tokens);
    this.holds = new Map(books.holds.map((hold) => [keyOf(hold.ownerId, hold.id), { ...hold }]));
    this.known = new Map(books.known.map(({ ownerId, eventId, fingerprint }) => [keyOf(ownerId, eventId), fingerprint]));
    this.members = new Set(books.members.map(({ organizationId, userId }) => keyOf(organizationId, userId)));
  }

  decide(operation: Operation): Result {
    const decided = this.decideAlone(operation);
    return { events: [], ...decided, quota: this.quotaOf(operation.owner) };
  }

  changes(): LedgerWrites {
    const alerts = [...this.accounts.values()].flatMap(({ account, row: { ownerId, ownerKind, periodStart } }) =>
      account.takeAlerts().map((threshold) => ({
        ownerId,
        ownerKind,
        periodStart,
        threshold,
        createdAt: this.books.now,
        used: account.counted.used,
        limit: account.limit!,
      })),
    );
    const quotas = [...this.accounts.values()].filter(isChanged).map(({ account, row }) => ({ ...row, ...account.state }));
    return {
      events: this.events,
      rollups: rollUp(this.events),
      quotas,
      alerts,
      newHolds: this.newHolds,
      endedHolds: [...this.endedHolds.values()],
    };
  }

  private decideAlone(operation: Operation): Omit<Result, 'quota' | 'events'> & { events?: EventResult[] } {
    switch (operation.kind) {
      case 'record':
        return this.record(operation);
      case 'hold':
        return this.hold(operation);
      case 'settle':
        return this.settle(operation);
      case 'release':
        return this.release(operation);
    }
  }

  private record({ owner, events }: RecordOperation): Pick<Result, 'refused' | 'waitMs'> & { events?: EventResult[] } {
    const current = this.accountAt(owner, this.books.now).account;
    const wait = current.spendRequest();
    if (wait > 0) return { refused: 'rate_limited', waitMs: wait };
    let waitMs: number | undefined;
    const results = events.map((event) => {
      const result = this.recordOne(owner, event, current);
      if (typeof result === 'number') {
        waitMs = Math.max(waitMs ?? 0, result);
        return { eventId: event.eventId, outcome: 'rejected' as const, reason: 'rate_limited' as const };
      }
      return { eventId: event.eventId, ...result };
    });
    return { events: results, waitMs };
  }

  /** Answers how many milliseconds to wait where the minute's allowance is used up. */
  private recordOne(owner: Owner, event: GivenEvent, current: QuotaBalance): Omit<EventResult, 'eventId'> | number {
    const seen = this.seenBefore(owner, event) ?? this.refusalOf(owner, event);
    if (seen !== undefined) return seen;
    const { account, row } = this.accountAt(owner, event.occurredAt);
    if (account.overflows(event.tokensUsed)) return rejected('count_too_large');
    if (this.exceeds(owner, event.occurredAt, event.tokensUsed)) return rejected('quota_exceeded');
    // What was used longer ago is none of this minute's.
    if (event.occurredAt.getTime() > this.books.now.getTime() - MINUTE_MS) {
      const wait = current.spendTokens(event.tokensUsed);
      if (wait > 0) return wait;
    }
    account.use(event.tokensUsed);
    this.write(row, event, { overrun: 0, holdId: null });
    return { outcome: 'inserted' };
  }

  private hold({ owner, hold: { ttlMs, needsMembershipCheck, ...asked } }: HoldOperation): Pick<Result, 'refused' | 'waitMs' | 'hold'> {
    const { now } = this.books;
    const existing = this.holds.get(keyOf(owner.id, asked.id));
    if (existing !== undefined) {
      if (!isSameHold(existing, asked)) return { refused: 'hold_conflict' };
      // One of an earlier period was not looked at for its end.
      const isPast = existing.status === 'live' && existing.expiresAt <= now;
      return { hold: isPast ? { ...existing, status: 'expired' } : existing };
    }
    if (needsMembershipCheck && !this.isMember(owner, asked.actorUserId)) return { refused: 'unknown_user' };
    const { account, row } = this.accountAt(owner, now);
    const requestWait = account.spendRequest();
    if (requestWait > 0) return { refused: 'rate_limited', waitMs: requestWait };
    if (this.exceeds(owner, now, asked.tokens)) return { refused: 'quota_exceeded' };
    if (account.overflows(asked.tokens)) return { refused: 'count_too_large' };
    const wait = account.spendTokens(asked.tokens);
    if (wait > 0) return { refused: 'rate_limited', waitMs: wait };
    account.hold(asked.tokens);
    const hold: UsageHold = {
      ...asked,
      ownerId: owner.id,
      periodStart: row.periodStart,
      status: 'live',
      eventId: null,
      expiresAt: new Date(now.getTime() + ttlMs),
      createdAt: now,
      updatedAt: now,
    };
    this.newHolds.push(hold);
    this.holds.set(keyOf(owner.id, hold.id), hold);
    return { hold };
  }

  /** Never refused for what it counts: it has been used. */
  private settle({ owner, hold: given, event }: SettleOperation): Pick<Result, 'refused' | 'hold'> & { events?: EventResult[] } {
    const hold = this.lockedOf(given);
    const answer = (result: Omit<EventResult, 'eventId'>) => ({ hold, events: [{ eventId: event.eventId, ...result }] });
    const seen = this.seenBefore(owner, event);
    if (seen !== undefined) {
      // It was recorded without the hold, which has nothing left to wait for.
      if (seen.outcome === 'duplicate' && hold.status === 'live') this.end(hold, 'released', null);
      return answer(seen);
    }
    if (hold.status === 'settled') return { refused: 'hold_settled', hold };
    const refusal = this.refusalOf(owner, event);
    if (refusal !== undefined) return answer(refusal);
    const { account, row } = this.accountAt(owner, event.occurredAt);
    const isReservedHere = hold.status === 'live' && hold.periodStart.getTime() === row.periodStart.getTime();
    const reserved = isReservedHere ? hold.tokens : 0;
    if (account.overflows(event.tokensUsed - reserved)) return answer(rejected('count_too_large'));
    const overrun = account.settle(event.tokensUsed, reserved);
    this.accountAt(owner, this.books.now).account.chargeTokens(event.tokensUsed - reserved);
    this.end(hold, 'settled', event.eventId);
    this.write(row, event, { overrun, holdId: hold.id });
    return answer({ outcome: 'inserted' });
  }

  private release({ hold: given }: ReleaseOperation): Pick<Result, 'refused' | 'hold'> {
    const hold = this.lockedOf(given);
    if (hold.status === 'settled') return { refused: 'hold_settled', hold };
    if (hold.status === 'live') this.end(hold, 'released', null);
    return { hold };
  }

  /** As it was before the lock, where it was removed since: those that are removed ended long ago. */
  private lockedOf(hold: UsageHold): UsageHold {
    return this.holds.get(keyOf(hold.ownerId, hold.id)) ?? { ...hold };
  }

  private end(hold: UsageHold, status: 'settled' | 'released', eventId: string | null): void {
    if (hold.status === 'live') this.accounts.get(keyOf(hold.ownerId, hold.periodStart.getTime()))!.account.giveBack(hold.tokens);
    Object.assign(hold, { status, eventId });
    // One that was made by the same group is written as it ended.
    if (!this.newHolds.includes(hold)) this.endedHolds.set(keyOf(hold.ownerId, hold.id), hold);
  }

  private seenBefore(owner: Owner, event: GivenEvent): Omit<EventResult, 'eventId'> | undefined {
    const known = this.known.get(keyOf(owner.id, event.eventId));
    return known && { outcome: isSameEvent(known, event) ? 'duplicate' : 'conflict' };
  }

  private refusalOf(owner: Owner, { occurredAt, actorUserId, needsMembershipCheck }: GivenEvent): Omit<EventResult, 'eventId'> | undefined {
    if (occurredAt.getTime() > this.books.now.getTime() + MAX_FUTURE_MS) return rejected('in_the_future');
    if (occurredAt < this.books.oldest) return rejected('too_old');
    if (needsMembershipCheck && !this.isMember(owner, actorUserId)) return rejected('unknown_user');
    return undefined;
  }

  private isMember(owner: Owner, userId: string | null): boolean {
    return this.members.has(keyOf(owner.id, userId!));
  }

  private write(row: UsageQuota, event: GivenEvent, { overrun, holdId }: { overrun: number; holdId: string | null }): void {
    const { eventId, fingerprint, occurredAt, actorUserId, model, metadata = null } = event;
    const { inputTokens, outputTokens, cachedInputTokens, reasoningTokens, tokensUsed } = event;
    this.known.set(keyOf(row.ownerId, eventId), fingerprint);
    this.events.push({
      ownerId: row.ownerId,
      ownerKind: row.ownerKind,
      periodStart: row.periodStart,
      eventId,
      fingerprint,
      occurredAt,
      actorUserId,
      model,
      metadata,
      overrun,
      holdId,
      inputTokens,
      outputTokens,
      cachedInputTokens,
      reasoningTokens,
      tokensUsed,
    });
  }

  private accountAt(owner: Owner, at: Date): Account {
    const { start } = this.books.customers.get(owner.id)!.periodAt(at);
    return this.accounts.get(keyOf(owner.id, start.getTime()))!;
  }

  /** Whether it is too much for its period, or for a later one that counts it too. */
  private exceeds(owner: Owner, at: Date, tokens: number): boolean {
    const customer = this.books.customers.get(owner.id)!;
    const period = customer.periodAt(at);
    return [period, ...customer.carriersOf(period)].some(({ start }) =>
      this.accounts.get(keyOf(owner.id, start.getTime()))!.account.exceeds(tokens),
    );
  }

  /** Has each period count what is carried into it. */
  private carry(): void {
    for (const { row, account } of this.accounts.values()) {
      const customer = this.books.customers.get(row.ownerId)!;
      const period = customer.periodAt(row.periodStart);
      // One that is there for a hold alone may be of another subscription.
      if (period.start.getTime() !== row.periodStart.getTime()) continue;
      for (const { start } of customer.carriedInto(period)) {
        const earlier = this.accounts.get(keyOf(row.ownerId, start.getTime()));
        if (earlier !== undefined) account.carry(earlier.account);
      }
    }
  }

  private quotaOf(owner: Owner): Quota {
    const { now, customers } = this.books;
    return quotaOf(customers.get(owner.id)!.periodAt(now), this.accountAt(owner, now).account);
  }
}

/** What is left of a period. */
export function quotaOf({ start, end }: UsagePeriod, account: QuotaBalance): Quota {
  const { limit, isHard, remaining, counted, carried } = account;
  return { start, end, ...counted, carried: carried.used, limit, isHard, remaining };
}

/** The quotas that operations may touch; locked before anything is decided. */
export function quotaKeysOf(
  operations: Operation[],
  { now, oldest, customers }: Pick<LedgerSnapshot, 'now' | 'oldest' | 'customers'>,
): QuotaKey[] {
  const keys = new Map<string, QuotaKey>();
  const latest = now.getTime() + MAX_FUTURE_MS;
  for (const operation of operations) {
    const { owner } = operation;
    const customer = customers.get(owner.id)!;
    const add = (start: Date, end: Date) =>
      keys.set(keyOf(owner.id, start.getTime()), { ownerId: owner.id, ownerKind: owner.kind, periodStart: start, periodEnd: end });
    const addAt = (at: Date) => {
      const period = customer.periodAt(at);
      for (const counting of [period, ...customer.carriersOf(period)])
        for (const { start, end } of [counting, ...customer.carriedInto(counting)]) add(start, end);
    };
    addAt(now);
    for (const { occurredAt } of eventsOf(operation)) if (occurredAt >= oldest && occurredAt.getTime() <= latest) addAt(occurredAt);
    // The period of a hold is the one that it was made in, whatever the plan has become.
    if ('hold' in operation && 'periodStart' in operation.hold) {
      const { periodStart } = operation.hold;
      if (!keys.has(keyOf(owner.id, periodStart.getTime()))) add(periodStart, customer.periodAt(periodStart).end);
    }
  }
  return [...keys.values()];
}

function rollUp(events: NewUsage[]): Rollup[] {
  const rollups = new Map<string, Rollup>();
  for (const event of events) {
    const { ownerId, model, actorUserId } = event;
    const hour = Math.floor(event.occurredAt.getTime() / HOUR_MS) * HOUR_MS;
    const key = `${ownerId} ${hour} ${actorUserId} ${model}`;
    let rollup = rollups.get(key);
    if (rollup === undefined) rollups.set(key, (rollup = { ownerId, hour: new Date(hour), model, actorUserId, events: 0, ...NOTHING }));
    rollup.events += 1;
    for (const name of COUNTED) rollup[name] += event[name];
  }
  return [...rollups.values()];
}

const NOTHING = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, reasoningTokens: 0, tokensUsed: 0, overrun: 0 };
const COUNTED = Object.keys(NOTHING) as (keyof typeof NOTHING)[];

function isChanged({ account: { state }, row }: Account): boolean {
  return (Object.keys(state) as (keyof typeof state)[]).some((name) => state[name] !== row[name]);
}

function isSameHold(existing: UsageHold, asked: Pick<UsageHold, 'tokens' | 'model' | 'actorUserId'>): boolean {
  return existing.tokens === asked.tokens && existing.model === asked.model && existing.actorUserId === asked.actorUserId;
}

function rejected(reason: Rejection): Omit<EventResult, 'eventId'> {
  return { outcome: 'rejected', reason };
}

/** Ids of owners are of one length: no two pairs make the same key. */
function keyOf(ownerId: string, rest: string | number): string {
  return `${ownerId} ${rest}`;
}

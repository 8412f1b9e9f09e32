import type { Owner } from '../../owners/owner.js';
import { MAX_FUTURE_MS } from '../events/usage-event.js';
import type { NewUsageRecord } from '../events/usage-events.table.js';
import { type Fingerprint, isSameEvent } from '../events/usage-fingerprint.js';
import type { UsageHold } from '../holds/usage-holds.table.js';
import type { QuotaBalance } from '../quotas/quota-balance.js';
import type { UsageQuota } from '../quotas/usage-quotas.table.js';
import { rollUp } from '../rollups/roll-up.js';
import { ledgerKey, type LedgerSnapshot, type LedgerWrites } from './ledger-snapshot.js';
import { LockedQuotas } from './locked-quotas.js';
import type {
  AttributedEvent,
  EventResult,
  HoldOperation,
  Operation,
  OperationResult,
  RecordOperation,
  Rejection,
  ReleaseOperation,
  SettleOperation,
} from './operations.js';
import { MINUTE_MS } from '../../platform/time/durations.js';

type Decision = Omit<OperationResult, 'quota' | 'events'> & { events?: EventResult[] };
type EventDecision = Omit<EventResult, 'eventId'>;

/**
 * Decides operations one after the other, as if each had its own transaction, and collects the writes of all of them.
 * It does no I/O: its snapshot was read under the locks of the quotas.
 */
export class LedgerDecider {
  private readonly quotas: LockedQuotas;
  private readonly holds: Map<string, UsageHold>;
  /** By owner and event id. */
  private readonly recorded = new Map<string, Map<string, Fingerprint>>();
  private readonly members: Set<string>;
  private readonly events: NewUsageRecord[] = [];
  private readonly newHolds: UsageHold[] = [];
  private readonly endedHolds = new Map<string, UsageHold>();

  constructor(private readonly snapshot: LedgerSnapshot) {
    this.quotas = new LockedQuotas(snapshot);
    this.holds = new Map(snapshot.holds.map((hold) => [ledgerKey(hold.ownerId, hold.id), { ...hold }]));
    for (const { ownerId, eventId, fingerprint } of snapshot.recordedIds ?? []) this.recordedOf(ownerId).set(eventId, fingerprint);
    this.members = new Set(snapshot.members.map(({ organizationId, userId }) => ledgerKey(organizationId, userId)));
  }

  decide(operation: Operation): OperationResult {
    const decision = this.decideOne(operation);
    return { events: [], ...decision, quota: this.quotas.current(operation.owner) };
  }

  writes(): LedgerWrites {
    return {
      events: this.events,
      rollups: rollUp(this.events),
      // Before the quotas: a reached threshold is stored in its quota's row.
      alerts: this.quotas.takeAlerts(),
      quotas: this.quotas.changedRows(),
      newHolds: this.newHolds,
      endedHolds: [...this.endedHolds.values()],
    };
  }

  private decideOne(operation: Operation): Decision {
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

  private record({ owner, events }: RecordOperation): Decision {
    const current = this.quotas.at(owner, this.snapshot.now).balance;
    const requestWaitMs = current.spendRequest();
    if (requestWaitMs > 0) return { refused: 'rate_limited', waitMs: requestWaitMs };
    let waitMs: number | undefined;
    const results = events.map((event) => {
      const result = this.recordOne(owner, event, current);
      if (typeof result !== 'number') return resultOf(event, result);
      waitMs = Math.max(waitMs ?? 0, result);
      return resultOf(event, rejected('rate_limited'));
    });
    return { events: results, waitMs };
  }

  /** Returns the milliseconds to wait when the minute's allowance is used up. */
  private recordOne(owner: Owner, event: AttributedEvent, current: QuotaBalance): EventDecision | number {
    const early = this.recordedResult(owner, event) ?? this.rejectionOf(owner, event);
    if (early !== undefined) return early;
    const { balance, row } = this.quotas.at(owner, event.occurredAt);
    if (balance.overflows(event.tokensUsed)) return rejected('count_too_large');
    if (this.quotas.exceeds(owner, event.occurredAt, event.tokensUsed)) return rejected('quota_exceeded');
    // Late events do not count toward the current minute.
    if (event.occurredAt.getTime() > this.snapshot.now.getTime() - MINUTE_MS) {
      const waitMs = current.spendTokens(event.tokensUsed);
      if (waitMs > 0) return waitMs;
    }
    balance.use(event.tokensUsed);
    this.addEvent(row, event, { overrun: 0, holdId: null });
    return INSERTED;
  }

  private hold({ owner, hold: { ttlMs, needsMembershipCheck, ...terms } }: HoldOperation): Decision {
    const { now } = this.snapshot;
    const existing = this.holds.get(ledgerKey(owner.id, terms.id));
    if (existing !== undefined) {
      if (!isSameHold(existing, terms)) return { refused: 'hold_conflict' };
      // Holds of earlier periods are not expired by this transaction.
      const isExpired = existing.status === 'live' && existing.expiresAt <= now;
      return { hold: isExpired ? { ...existing, status: 'expired' } : existing };
    }
    if (needsMembershipCheck && !this.isMember(owner, terms.actorUserId)) return { refused: 'unknown_user' };
    const { balance, row } = this.quotas.at(owner, now);
    const requestWaitMs = balance.spendRequest();
    if (requestWaitMs > 0) return { refused: 'rate_limited', waitMs: requestWaitMs };
    if (this.quotas.exceeds(owner, now, terms.tokens)) return { refused: 'quota_exceeded' };
    if (balance.overflows(terms.tokens)) return { refused: 'count_too_large' };
    const waitMs = balance.spendTokens(terms.tokens);
    if (waitMs > 0) return { refused: 'rate_limited', waitMs };
    balance.hold(terms.tokens);
    const hold: UsageHold = {
      ...terms,
      ownerId: owner.id,
      periodStart: row.periodStart,
      status: 'live',
      eventId: null,
      expiresAt: new Date(now.getTime() + ttlMs),
      createdAt: now,
      updatedAt: now,
    };
    this.newHolds.push(hold);
    this.holds.set(ledgerKey(owner.id, hold.id), hold);
    return { hold };
  }

  /** No cap refuses it: the tokens have been used already. */
  private settle({ owner, hold: given, event }: SettleOperation): Decision {
    const hold = this.currentHold(given);
    const decided = (decision: EventDecision): Decision => ({ hold, events: [resultOf(event, decision)] });
    const earlier = this.recordedResult(owner, event);
    if (earlier !== undefined) {
      // The event was recorded without the hold, so the hold has nothing left to wait for.
      if (earlier.outcome === 'duplicate' && hold.status === 'live') this.endHold(hold, 'released', null);
      return decided(earlier);
    }
    if (hold.status === 'settled') return { refused: 'hold_settled', hold };
    const rejection = this.rejectionOf(owner, event);
    if (rejection !== undefined) return decided(rejection);
    const { balance, row } = this.quotas.at(owner, event.occurredAt);
    const isReservedHere = hold.status === 'live' && hold.periodStart.getTime() === row.periodStart.getTime();
    const reserved = isReservedHere ? hold.tokens : 0;
    if (balance.overflows(event.tokensUsed - reserved)) return decided(rejected('count_too_large'));
    const overrun = balance.settle(event.tokensUsed, reserved);
    this.quotas.at(owner, this.snapshot.now).balance.chargeTokens(event.tokensUsed - reserved);
    this.endHold(hold, 'settled', event.eventId);
    this.addEvent(row, event, { overrun, holdId: hold.id });
    return decided(INSERTED);
  }

  private release({ hold: given }: ReleaseOperation): Decision {
    const hold = this.currentHold(given);
    if (hold.status === 'settled') return { refused: 'hold_settled', hold };
    if (hold.status === 'live') this.endHold(hold, 'released', null);
    return { hold };
  }

  /** Falls back to the hold as it was read before the lock: a job has removed it since, long after its end. */
  private currentHold(hold: UsageHold): UsageHold {
    return this.holds.get(ledgerKey(hold.ownerId, hold.id)) ?? { ...hold };
  }

  private endHold(hold: UsageHold, status: 'settled' | 'released', eventId: string | null): void {
    if (hold.status === 'live') this.quotas.ofHold(hold).releaseHold(hold.tokens);
    Object.assign(hold, { status, eventId });
    // A hold made in the same batch is inserted with its final status.
    if (!this.newHolds.includes(hold)) this.endedHolds.set(ledgerKey(hold.ownerId, hold.id), hold);
  }

  private recordedResult(owner: Owner, event: AttributedEvent): EventDecision | undefined {
    const fingerprint = this.recordedOf(owner.id).get(event.eventId);
    if (fingerprint === undefined) return undefined;
    return { outcome: isSameEvent(fingerprint, event) ? 'duplicate' : 'conflict' };
  }

  private recordedOf(ownerId: string): Map<string, Fingerprint> {
    let recorded = this.recorded.get(ownerId);
    if (recorded === undefined) this.recorded.set(ownerId, (recorded = new Map()));
    return recorded;
  }

  private rejectionOf(owner: Owner, { occurredAt, actorUserId, needsMembershipCheck }: AttributedEvent): EventDecision | undefined {
    const moment = occurredAt.getTime();
    if (moment > this.snapshot.now.getTime() + MAX_FUTURE_MS) return rejected('in_the_future');
    if (moment < this.snapshot.oldestAcceptedTime.getTime()) return rejected('too_old');
    if (needsMembershipCheck && !this.isMember(owner, actorUserId)) return rejected('unknown_user');
    return undefined;
  }

  private isMember(owner: Owner, userId: string | null): boolean {
    return this.members.has(ledgerKey(owner.id, userId!));
  }

  private addEvent(quota: UsageQuota, event: AttributedEvent, { overrun, holdId }: { overrun: number; holdId: string | null }): void {
    const { ownerId, ownerKind, periodStart } = quota;
    const { eventId, fingerprint, occurredAt, actorUserId, model, metadata = null } = event;
    const { inputTokens, outputTokens, cachedInputTokens, reasoningTokens, tokensUsed } = event;
    this.recordedOf(ownerId).set(eventId, fingerprint);
    this.events.push({
      ownerId,
      ownerKind,
      periodStart,
      eventId,
      fingerprint,
      occurredAt,
      actorUserId,
      model,
      metadata,
      inputTokens,
      outputTokens,
      cachedInputTokens,
      reasoningTokens,
      tokensUsed,
      overrun,
      holdId,
    });
  }
}

const INSERTED: EventDecision = { outcome: 'inserted' };

function resultOf({ eventId }: AttributedEvent, { outcome, reason }: EventDecision): EventResult {
  return reason === undefined ? { eventId, outcome } : { eventId, outcome, reason };
}

function isSameHold(existing: UsageHold, terms: Pick<UsageHold, 'tokens' | 'model' | 'actorUserId'>): boolean {
  return existing.tokens === terms.tokens && existing.model === terms.model && existing.actorUserId === terms.actorUserId;
}

function rejected(reason: Rejection): { outcome: 'rejected'; reason: Rejection } {
  return { outcome: 'rejected', reason };
}

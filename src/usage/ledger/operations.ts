import type { Owner } from '../../owners/owner.js';
import type { UsageEvent } from '../events/usage-event.js';
import type { Fingerprint } from '../events/usage-fingerprint.js';
import type { UsageHold } from '../holds/usage-holds.table.js';
import type { UsagePeriod } from '../quotas/usage-period.js';

export const OUTCOMES = ['inserted', 'duplicate', 'conflict', 'rejected'] as const;
export type EventOutcome = (typeof OUTCOMES)[number];

export const REJECTIONS = [
  'invalid',
  'in_the_future',
  'too_old',
  'unknown_user',
  'count_too_large',
  'quota_exceeded',
  'rate_limited',
] as const;
export type Rejection = (typeof REJECTIONS)[number];

/** An event together with what its request says about the acting user. */
export interface AttributedEvent extends Omit<UsageEvent, 'userId'> {
  occurredAt: Date;
  /** Covers the content and the acting user. */
  fingerprint: Fingerprint;
  actorUserId: string | null;
  /** The acting user must be, or have been, a member of the organization. */
  needsMembershipCheck: boolean;
}

interface OwnedOperation {
  owner: Owner;
}
export type RecordOperation = OwnedOperation & { kind: 'record'; events: AttributedEvent[] };
export type HoldOperation = OwnedOperation & {
  kind: 'hold';
  hold: Pick<UsageHold, 'id' | 'tokens' | 'model' | 'actorUserId'> & { ttlMs: number; needsMembershipCheck: boolean };
};
/** `hold` was read before its quota was locked. Its tokens never change. */
export type SettleOperation = OwnedOperation & { kind: 'settle'; hold: UsageHold; event: AttributedEvent };
export type ReleaseOperation = OwnedOperation & { kind: 'release'; hold: UsageHold };
export type Operation = RecordOperation | HoldOperation | SettleOperation | ReleaseOperation;

export interface Quota extends UsagePeriod {
  asOf: Date;
  used: number;
  /** The part of `used` that comes from earlier periods which a plan change cut short. */
  carried: number;
  overrun: number;
  held: number;
  limit: number | null;
  isHard: boolean;
  remaining: number | null;
}

export interface EventResult {
  eventId: string;
  outcome: EventOutcome;
  reason?: Rejection;
}

export interface OperationResult {
  /** The owner's current period after the operation. */
  quota: Quota;
  refused?: Rejection | 'hold_conflict' | 'hold_settled';
  /** Milliseconds until the minute's allowance has room again. */
  waitMs?: number;
  events: EventResult[];
  hold?: UsageHold;
}

export function eventsIn(operation: Operation): AttributedEvent[] {
  if (operation.kind === 'record') return operation.events;
  return operation.kind === 'settle' ? [operation.event] : [];
}

import type { Owner } from '../../owners/owner.js';
import type { UsageEvent } from '../events/usage-event.js';
import type { UsageHold } from '../holds/usage-holds.table.js';
import type { UsagePeriod } from '../quotas/usage-period.js';

export const OUTCOMES = ['inserted', 'duplicate', 'conflict', 'rejected'] as const;
export type OperationOutcome = (typeof OUTCOMES)[number];

/** Why an event, or a hold, was not taken. */
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

/** An event with what its request knows. */
export interface GivenEvent extends UsageEvent {
  occurredAt: Date;
  /** Of its content and of who caused it. */
  fingerprint: Buffer;
  actorUserId: string | null;
  /** Whether it is still to be seen that this person belongs, or belonged, to the organization. */
  needsMembershipCheck: boolean;
}

interface Asked {
  owner: Owner;
}
export type RecordOperation = Asked & { kind: 'record'; events: GivenEvent[] };
export type HoldOperation = Asked & {
  kind: 'hold';
  hold: Pick<UsageHold, 'id' | 'tokens' | 'model' | 'actorUserId'> & { ttlMs: number; needsMembershipCheck: boolean };
};
/** `hold` as it was before it was locked: its tokens never change. */
export type SettleOperation = Asked & { kind: 'settle'; hold: UsageHold; event: GivenEvent };
export type ReleaseOperation = Asked & { kind: 'release'; hold: UsageHold };
export type Operation = RecordOperation | HoldOperation | SettleOperation | ReleaseOperation;

/** What is left of a period. */
export interface Quota extends UsagePeriod {
  used: number;
  /** Of `used`: what earlier periods used that a change cut short. */
  carried: number;
  overrun: number;
  held: number;
  /** Null where there is no limit. */
  limit: number | null;
  /** Whether usage stops at the limit. */
  isHard: boolean;
  remaining: number | null;
}

export interface EventResult {
  eventId: string;
  outcome: OperationOutcome;
  reason?: Rejection;
}

/** What became of an operation. */
export interface Result {
  /** The owner's period of now, after it. */
  quota: Quota;
  /** Set where the operation as a whole was refused. */
  refused?: Rejection | 'hold_conflict' | 'hold_settled';
  /** Milliseconds until a minute's allowance has room again. */
  waitMs?: number;
  events: EventResult[];
  hold?: UsageHold;
}

export function eventsOf(operation: Operation): GivenEvent[] {
  if (operation.kind === 'record') return operation.events;
  return operation.kind === 'settle' ? [operation.event] : [];
}

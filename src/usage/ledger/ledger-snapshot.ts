import type { UsageAlert } from '../alerts/usage-alerts.table.js';
import type { EventIdKey, NewUsageRecord } from '../events/usage-events.table.js';
import type { Fingerprint } from '../events/usage-fingerprint.js';
import type { UsageHold } from '../holds/usage-holds.table.js';
import type { MeteredOwner } from '../quotas/metered-owner.js';
import type { UsageQuota } from '../quotas/usage-quotas.table.js';
import type { UsageRollup } from '../rollups/usage-rollups.table.js';

/** What the decider knows: everything was read under the locks of the quotas. */
export interface LedgerSnapshot {
  now: Date;
  oldestAcceptedTime: Date;
  owners: Map<string, MeteredOwner>;
  quotas: UsageQuota[];
  holds: UsageHold[];
  /** Holds that this transaction found expired. */
  expiredHolds: Pick<UsageHold, 'ownerId' | 'periodStart' | 'tokens'>[];
  /** Undefined when they were not read: then the decisions hold only if every event is new and accepted. */
  recordedIds?: (EventIdKey & { fingerprint: Fingerprint })[];
  members: { organizationId: string; userId: string }[];
}

export interface LedgerWrites {
  events: NewUsageRecord[];
  rollups: UsageRollup[];
  quotas: UsageQuota[];
  newHolds: UsageHold[];
  endedHolds: UsageHold[];
  alerts: UsageAlert[];
}

/** Owner ids have one length, so no two pairs make the same key. */
export function ledgerKey(ownerId: string, part: string | number | Date): string {
  return `${ownerId} ${part instanceof Date ? part.getTime() : part}`;
}

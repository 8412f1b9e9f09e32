import { Inject, Injectable } from '@nestjs/common';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import {
  ConcurrencyConflict,
  isDatabaseUnavailable,
  isDeadlock,
  isMissingPartition,
  isRetryable,
  isUniqueViolation,
} from '../../platform/database/database-errors.js';
import { allInOrder } from '../../platform/database/statement.js';
import { retryTransaction } from '../../platform/database/retry-transaction.js';
import { Batcher } from '../../platform/queue/batcher.js';
import { Clock } from '../../platform/time/clock.service.js';
import { EntitlementsService } from '../../subscriptions/entitlements/entitlements.service.js';
import { UsageAlerts } from '../alerts/usage-alerts.service.js';
import { MAX_FUTURE_MS } from '../events/usage-event.js';
import type { EventIdKey, NewUsageRecord } from '../events/usage-events.table.js';
import { type MeteredEvent, MeterExportsService } from '../exports/meter-exports.service.js';
import type { UsageHold } from '../holds/usage-holds.table.js';
import { MonthPruned, UsagePartitions } from '../partitions/usage-partitions.job.js';
import { MeteredOwner } from '../quotas/metered-owner.js';
import { UsagePeriods } from '../quotas/usage-periods.service.js';
import type { QuotaKey, UsageQuota } from '../quotas/usage-quotas.table.js';
import { LONGEST_USAGE_MONTH_MS } from '../quotas/usage-timeline.js';
import { LedgerDecider } from './ledger-decider.js';
import { ledgerKey, type LedgerSnapshot, type LedgerWrites } from './ledger-snapshot.js';
import { quotaKeysOf } from './locked-quotas.js';
import { eventsIn, type Operation, type OperationResult } from './operations.js';
import { type MemberKey, UsageLedgerRepository } from './usage-ledger.repository.js';
import { UsageMetrics } from './usage-metrics.service.js';

const MAX_BATCH_EVENTS = 2000;
const MAX_PENDING_EVENTS = 50_000;
const SECOND_BATCH_THRESHOLD = 200;
/** Batches that look up their event ids after an id came again: repetitions come in bursts. */
const LOOKUPS_AFTER_REPETITION = 50;

/** Periods without a quota yet. Quotas are inserted before the transaction: inserts would lock them in another order. */
class QuotasMissing extends Error {
  constructor(
    readonly keys: QuotaKey[],
    readonly owners: Map<string, MeteredOwner>,
  ) {
    super();
  }
}

/** The usage of a hold's period moved to another quota after the hold was read. */
class HoldMoved extends Error {}

type LedgerContext = Pick<LedgerSnapshot, 'oldestAcceptedTime' | 'owners' | 'members'>;

/**
 * Every change of usage goes through here. Operations of many requests share one transaction; the locks of the quotas
 * make caps exact on any number of processes (docs/decisions/0017).
 */
@Injectable()
export class UsageLedger {
  private readonly batcher = new Batcher<Operation, OperationResult>((batch) => this.commit(batch), {
    maxBatch: MAX_BATCH_EVENTS,
    maxPending: MAX_PENDING_EVENTS,
    secondBatchThreshold: SECOND_BATCH_THRESHOLD,
    failsAll: isDatabaseUnavailable,
  });

  /** The number of batches that will look up their event ids before they decide. */
  private lookups = 0;

  constructor(
    private readonly repository: UsageLedgerRepository,
    private readonly entitlements: EntitlementsService,
    private readonly alerts: UsageAlerts,
    private readonly periods: UsagePeriods,
    private readonly partitions: UsagePartitions,
    private readonly meterExports: MeterExportsService,
    private readonly clock: Clock,
    private readonly metrics: UsageMetrics,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /** Returns after the commit. @throws {ServiceUnavailable} */
  async submit(operation: Operation): Promise<OperationResult> {
    return this.batcher.add(operation, Math.max(1, eventsIn(operation).length));
  }

  /** @param since the earliest moment that the owners' periods will be asked about */
  async loadOwners(operations: Pick<Operation, 'owner'>[], since: Date): Promise<Map<string, MeteredOwner>> {
    // A period may carry over an earlier one, and its quota may overlap one made before decision 0031.
    const periodsFrom = new Date(since.getTime() - 2 * LONGEST_USAGE_MONTH_MS);
    const owners = new Map(operations.map(({ owner }) => [owner.id, owner]));
    const ids = [...owners.keys()];
    const [entitlements, creations] = await Promise.all([
      this.entitlements.getEntitlements(ids, periodsFrom),
      this.repository.listCreationTimes(ids),
    ]);
    const createdAt = new Map(creations.map((one) => [one.id, one.createdAt]));
    // An owner purged meanwhile has no creation time. Any anchor will do for it.
    return new Map(ids.map((id) => [id, new MeteredOwner(owners.get(id)!, entitlements.get(id)!, createdAt.get(id) ?? new Date(0))]));
  }

  private async commit(batch: Operation[]): Promise<OperationResult[]> {
    try {
      return await retryTransaction(() => this.tryCommit(batch), {
        isRetryable: isOutdated,
        beforeRetry: (error) => this.prepareRetry(error),
      });
    } catch (error) {
      throw isLostRace(error) ? new ConcurrencyConflict('Every attempt lost a race', { cause: error }) : error;
    }
  }

  private async tryCommit(batch: Operation[]): Promise<OperationResult[]> {
    const context = await this.loadContext(batch);
    const { results, countHolds, isMetered, written } = await this.db.transaction((tx) => this.decide(batch, context, tx));
    // If a write failed, PostgreSQL has turned the COMMIT behind it into a ROLLBACK.
    await written;
    this.metrics.count(batch, results);
    countHolds();
    if (isMetered) this.meterExports.wake();
    return results;
  }

  private async prepareRetry(error: unknown): Promise<void> {
    if (error instanceof QuotasMissing) await this.periods.createQuotas(error.keys, error.owners);
    else if (isUniqueViolation(error, EVENT_IDS_KEY)) this.lookups = LOOKUPS_AFTER_REPETITION;
    else if (isMissingPartition(error) || error instanceof MonthPruned) this.partitions.clearCache();
  }

  /** Reads what needs no lock, and creates the partitions of the events. */
  private async loadContext(batch: Operation[]): Promise<LedgerContext> {
    const checks = membershipChecksIn(batch);
    const oldestAcceptedTime = await this.partitions.oldestAccepted();
    const now = this.clock.now();
    const moments = momentsIn(batch, oldestAcceptedTime.getTime(), now.getTime() + MAX_FUTURE_MS);
    const earliest = moments.reduce((least, moment) => (moment < least ? moment : least), now);
    const [owners, members] = await Promise.all([
      this.loadOwners(batch, earliest),
      checks.length === 0 ? [] : this.repository.listMembers(checks),
      this.partitions.ensure(moments),
    ]);
    return { oldestAcceptedTime, owners, members };
  }

  /** Does not wait for the writes: they leave together with COMMIT. */
  private async decide(
    batch: Operation[],
    context: LedgerContext,
    tx: Queryable,
  ): Promise<{ results: OperationResult[]; countHolds: () => void; isMetered: boolean; written: Promise<unknown> }> {
    const snapshot = await this.lockAndRead(batch, context, tx);
    const { results, writes } = await this.decideAll(batch, snapshot, tx);
    if (writes.alerts.length > 0) await this.alerts.record(writes.alerts, tx);
    const metered = meteredEventsOf(writes.events, context.owners);
    const written = allInOrder([
      this.repository.write(writes, snapshot.now, tx),
      metered.length === 0 ? undefined : this.meterExports.enqueue(metered, tx),
    ]);
    // The caller awaits it after the transaction.
    written.catch(() => undefined);
    const countHolds = () => this.metrics.countHolds(writes, snapshot.expiredHolds.length);
    return { results, countHolds, isMetered: metered.length > 0, written };
  }

  /**
   * Decides as if every event were new. If one is accepted that is not, the unique key of the ids refuses it, and the
   * next attempt looks the ids up. One that is not accepted may be a repetition, so its id is looked up right away.
   */
  private async decideAll(
    batch: Operation[],
    snapshot: LedgerSnapshot,
    tx: Queryable,
  ): Promise<{ results: OperationResult[]; writes: LedgerWrites }> {
    const decider = new LedgerDecider(snapshot);
    const results = batch.map((operation) => decider.decide(operation));
    if (snapshot.recordedIds !== undefined || batch.every((operation, index) => isAccepted(operation, results[index]!)))
      return { results, writes: decider.writes() };
    const recordedIds = await this.repository.listRecorded(eventKeysIn(batch), tx);
    if (recordedIds.length > 0) this.lookups = LOOKUPS_AFTER_REPETITION;
    return this.decideAll(batch, { ...snapshot, recordedIds }, tx);
  }

  private async lockAndRead(batch: Operation[], context: LedgerContext, tx: Queryable): Promise<LedgerSnapshot> {
    const now = this.clock.now();
    const keys = quotaKeysOf(batch, { ...context, now });
    const holdKeys = batch.flatMap((operation) => ('hold' in operation ? [{ ownerId: operation.owner.id, id: operation.hold.id }] : []));
    const mayRepeat = this.lookups > 0;
    if (mayRepeat) this.lookups -= 1;
    const { quotas, recordedIds } = await this.repository.lockQuotas(keys, mayRepeat ? eventKeysIn(batch) : undefined, tx);
    if (quotas.length < keys.length) throw new QuotasMissing(missingKeys(keys, quotas), context.owners);
    const { expiredHolds, holds } = await this.repository.readHolds(quotas, keys, { holdKeys, now, tx });
    refreshHolds(batch, holds, keys);
    return { ...context, now, quotas, expiredHolds, holds, recordedIds };
  }
}

/** Whether the attempt knew too little, or lost a race. */
function isOutdated(error: unknown): boolean {
  const isStale = error instanceof QuotasMissing || error instanceof MonthPruned || error instanceof HoldMoved;
  return isStale || isMissingPartition(error) || isRetryable(error);
}

/** Only the keys that concurrent requests race for. Any other violation is our own fault, which a retry would repeat. */
function isLostRace(error: unknown): boolean {
  return isDeadlock(error) || RACED_KEYS.some((key) => isUniqueViolation(error, key));
}

const EVENT_IDS_KEY = 'usage_event_ids_pkey';
const RACED_KEYS = [EVENT_IDS_KEY, 'usage_holds_pkey'];

/** Whether every event is recorded. */
function isAccepted(operation: Operation, { events }: OperationResult): boolean {
  return events.length === eventsIn(operation).length && events.every(({ outcome }) => outcome === 'inserted');
}

function eventKeysIn(batch: Operation[]): EventIdKey[] {
  return batch.flatMap((operation) => eventsIn(operation).map(({ eventId }) => ({ ownerId: operation.owner.id, eventId })));
}

/** When the events happened that a month is needed for. Most events of an operation share one time. */
function momentsIn(batch: Operation[], oldest: number, latest: number): Date[] {
  const moments: Date[] = [];
  for (const operation of batch)
    for (const { occurredAt } of eventsIn(operation)) {
      const moment = occurredAt.getTime();
      if (occurredAt !== moments.at(-1) && moment >= oldest && moment <= latest) moments.push(occurredAt);
    }
  return moments;
}

function missingKeys(keys: QuotaKey[], quotas: UsageQuota[]): QuotaKey[] {
  const existing = new Set(quotas.map(({ ownerId, periodStart }) => ledgerKey(ownerId, periodStart)));
  return keys.filter(({ ownerId, periodStart }) => !existing.has(ledgerKey(ownerId, periodStart)));
}

/** @throws {HoldMoved} when a hold's period is not locked; the next attempt knows its new period */
function refreshHolds(batch: Operation[], holds: UsageHold[], keys: QuotaKey[]): void {
  const locked = new Set(keys.map(({ ownerId, periodStart }) => ledgerKey(ownerId, periodStart)));
  let hasMoved = false;
  for (const operation of batch) {
    if (!('hold' in operation) || !('periodStart' in operation.hold)) continue;
    const { ownerId, id } = operation.hold;
    const current = holds.find((hold) => hold.id === id && hold.ownerId === ownerId);
    if (current === undefined || locked.has(ledgerKey(ownerId, current.periodStart))) continue;
    Object.assign(operation.hold, current);
    hasMoved = true;
  }
  if (hasMoved) throw new HoldMoved();
}

/** The events of owners who pay a provider. */
function meteredEventsOf(events: NewUsageRecord[], owners: Map<string, MeteredOwner>): MeteredEvent[] {
  if ([...owners.values()].every(({ entitlement }) => entitlement.granting === undefined)) return [];
  return events.flatMap((event) => {
    const { provider, providerCustomerId } = owners.get(event.ownerId)!.entitlement.granting ?? {};
    if (provider === undefined || provider === 'manual' || providerCustomerId == null) return [];
    const { ownerId, eventId, occurredAt, model, inputTokens, outputTokens, cachedInputTokens, reasoningTokens, tokensUsed } = event;
    const counts = { inputTokens, outputTokens, cachedInputTokens, reasoningTokens, tokensUsed };
    return [{ provider, providerCustomerId, ownerId, eventId, occurredAt, model, ...counts }];
  });
}

function membershipChecksIn(batch: Operation[]): MemberKey[] {
  return batch.flatMap((operation) =>
    (operation.kind === 'hold' ? [operation.hold] : eventsIn(operation))
      .filter(({ needsMembershipCheck }) => needsMembershipCheck)
      .map(({ actorUserId }) => ({ organizationId: operation.owner.id, userId: actorUserId! })),
  );
}

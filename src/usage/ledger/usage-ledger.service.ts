import { Inject, Injectable } from '@nestjs/common';
import { Clock } from '../../platform/time/clock.service.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import {
  isDatabaseUnavailable,
  isDeadlock,
  isMissingPartition,
  isRetryable,
  isUniqueViolation,
  ConcurrencyConflict,
} from '../../platform/database/database-errors.js';
import { retryTransaction } from '../../platform/database/retry-transaction.js';
import { type MeteredEvent, MetersService } from '../exports/meter-exports.service.js';
import { EntitlementsService } from '../../subscriptions/entitlements/entitlements.service.js';
import { UsageAlerts } from '../alerts/usage-alerts.service.js';
import { MeteredOwner } from '../quotas/metered-owner.js';
import { type LedgerSnapshot, type LedgerWrites, quotaKeysOf, LedgerDecider } from './ledger-decider.js';
import { MAX_FUTURE_MS } from '../events/usage-event.js';
import { Batcher } from './batcher.js';
import { eventsOf, type Operation, type Result } from './operations.js';
import type { UsageHold } from '../holds/usage-holds.table.js';
import type { UsageQuota } from '../quotas/usage-quotas.table.js';
import { LONGEST_USAGE_MONTH_MS } from '../quotas/usage-timeline.js';
import { UsagePeriods } from '../quotas/usage-periods.service.js';
import { MonthIsSealed, UsagePartitions } from '../partitions/usage-partitions.job.js';
import { type NewUsage, type QuotaKey, UsageRepository } from './usage.repository.js';

/** Events that go in one transaction. */
const GROUP = 2000;
/** As many waiting events are written by a second transaction beside the first. */
const SECOND_BATCH_THRESHOLD = 200;
/** Events that may wait; more are refused with 503. */
const MOST_WAITING = 50_000;

/** The first operations of a period. Made apart from the others' locks: nobody waits for them in another order. */
class QuotasMissing extends Error {
  constructor(
    readonly keys: QuotaKey[],
    readonly customers: Map<string, MeteredOwner>,
  ) {
    super();
  }
}

/** The usage of a hold's period moved to another one since the hold was read. */
class HoldMoved extends Error {}

type Known = Pick<LedgerSnapshot, 'oldest' | 'customers' | 'members'>;

/**
 * All that changes usage goes through here: operations of many requests share statements and one commit, and each is
 * answered after it. An owner's operations are decided one after the other, under the locks of the owner's quotas, so
 * that a cap is exact on any number of processes (docs/decisions/0017).
 */
@Injectable()
export class UsageLedger {
  private readonly groups = new Batcher<Operation, Result>((group) => this.commit(group), {
    group: GROUP,
    maxPending: MOST_WAITING,
    secondBatchThreshold: SECOND_BATCH_THRESHOLD,
    isShared: isDatabaseUnavailable,
  });

  constructor(
    private readonly repository: UsageRepository,
    private readonly entitlements: EntitlementsService,
    private readonly alerts: UsageAlerts,
    private readonly periods: UsagePeriods,
    private readonly partitions: UsagePartitions,
    private readonly meters: MetersService,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /** @throws {ServiceUnavailable} */
  async submit(operation: Operation): Promise<Result> {
    return this.groups.add(operation, Math.max(1, eventsOf(operation).length));
  }

  /**
   * What owners may use, and in which periods.
   *
   * @param since no earlier moment is asked for
   */
  async customersOf(operations: Pick<Operation, 'owner'>[], since: Date): Promise<Map<string, MeteredOwner>> {
    // A period may count what an earlier one used, and quotas may overlap that were made by an older rule.
    const periodsFrom = new Date(since.getTime() - 2 * LONGEST_USAGE_MONTH_MS);
    const owners = new Map(operations.map(({ owner }) => [owner.id, owner]));
    const ids = [...owners.keys()];
    const [entitlements, creations] = await Promise.all([
      this.entitlements.getEntitlements(ids, periodsFrom),
      this.repository.listCreationTimes(ids),
    ]);
    const createdAt = new Map(creations.map((one) => [one.id, one.createdAt]));
    // One that was purged this very moment has periods of its own no more; any will do.
    return new Map(ids.map((id) => [id, new MeteredOwner(owners.get(id)!, entitlements.get(id)!, createdAt.get(id) ?? new Date(0))]));
  }

  private async commit(group: Operation[]): Promise<Result[]> {
    try {
      return await retryTransaction(() => this.tryCommit(group), {
        isRetryable: mayFitNextTime,
        beforeRetry: (error) => this.prepareRetry(error),
      });
    } catch (error) {
      throw isLostRace(error) ? new ConcurrencyConflict('Others were always first', { cause: error }) : error;
    }
  }

  private async tryCommit(group: Operation[]): Promise<Result[]> {
    const known = await this.prepare(group);
    const { results, isMetered, written } = await this.db.transaction(async (tx) => {
      const books = await this.read(group, known, tx);
      const decisions = new LedgerDecider(books);
      const decided = group.map((operation) => decisions.decide(operation));
      const changes = decisions.changes();
      const metered = meteredOf(changes.events, books.customers);
      return { results: decided, isMetered: metered.length > 0, written: await this.sendWrites(changes, metered, books, tx) };
    });
    await written();
    if (isMetered) this.meters.wake();
    return results;
  }

  private async prepareRetry(error: unknown): Promise<void> {
    if (error instanceof QuotasMissing) await this.periods.open(error.keys, error.customers);
    else if (isMissingPartition(error) || error instanceof MonthIsSealed) this.partitions.forget();
  }

  /** What needs no lock: who the owners are, and room for the events. */
  private async prepare(group: Operation[]): Promise<Known> {
    const strangers = strangersOf(group);
    const oldest = await this.partitions.oldest();
    const now = this.clock.now().getTime();
    const moments = group
      .flatMap((operation) => eventsOf(operation).map(({ occurredAt }) => occurredAt))
      .filter((moment) => moment >= oldest && moment.getTime() <= now + MAX_FUTURE_MS);
    const earliest = moments.reduce((least, moment) => Math.min(least, moment.getTime()), now);
    const [customers, members] = await Promise.all([
      this.customersOf(group, new Date(earliest)),
      strangers.length === 0 ? [] : this.repository.listMembers(strangers),
      this.partitions.ensure(moments),
    ]);
    return { oldest, customers, members };
  }

  private async read(group: Operation[], known: Known, tx: Queryable): Promise<LedgerSnapshot> {
    const now = this.clock.now();
    const keys = quotaKeysOf(group, { ...known, now });
    const holds = group.flatMap((operation) => ('hold' in operation ? [{ ownerId: operation.owner.id, id: operation.hold.id }] : []));
    const ids = group.flatMap((operation) => eventsOf(operation).map(({ eventId }) => ({ ownerId: operation.owner.id, eventId })));
    const { repository } = this;
    // In this order: what stands under the locks is read once they are held.
    const [, quotas, seen] = await Promise.all([
      repository.useKeys(tx),
      repository.lockQuotas(keys, tx),
      ids.length === 0 ? [] : repository.listEventIds(ids, tx),
    ]);
    if (quotas.length < keys.length) throw new QuotasMissing(withoutRow(keys, quotas), known.customers);
    // Most groups have none, and are done a statement sooner.
    const [expired, held] = await Promise.all([
      quotas.every((quota) => quota.held === 0) ? [] : repository.expireHolds(keys, now, tx),
      holds.length === 0 ? [] : repository.listHolds(holds, tx),
    ]);
    refreshHolds(group, held, keys);
    return { ...known, now, quotas, expired, holds: held, known: seen };
  }

  /**
   * Sends the writes without waiting for them, so that COMMIT travels along. If a statement fails, PostgreSQL turns
   * that COMMIT into a ROLLBACK.
   *
   * @returns a function that waits for the writes, and throws if one failed; call it after the transaction
   */
  private async sendWrites(
    changes: LedgerWrites,
    metered: MeteredEvent[],
    { now }: LedgerSnapshot,
    tx: Queryable,
  ): Promise<() => Promise<unknown>> {
    const { events, rollups, quotas, newHolds, endedHolds, alerts } = changes;
    const { repository } = this;
    // More than one statement, one after the other.
    if (alerts.length > 0) await this.alerts.record(alerts, tx);
    const written = Promise.all([
      events.length === 0 ? undefined : repository.insertEventIds(events, now, tx),
      events.length === 0 ? undefined : repository.insertUsage(events, now, tx),
      rollups.length === 0 ? undefined : repository.addToRollups(rollups, now, tx),
      newHolds.length === 0 ? undefined : repository.insertHolds(newHolds, now, tx),
      endedHolds.length === 0 ? undefined : repository.endHolds(endedHolds, now, tx),
      quotas.length === 0 ? undefined : repository.updateQuotas(quotas, now, tx),
      metered.length === 0 ? undefined : this.meters.enqueue(metered, tx),
    ]);
    written.catch(() => undefined);
    return () => written;
  }
}

function mayFitNextTime(error: unknown): boolean {
  const isOutdated = error instanceof QuotasMissing || error instanceof MonthIsSealed || error instanceof HoldMoved;
  return isOutdated || isMissingPartition(error) || isRetryable(error);
}

/** Only keys that concurrent requests race for: any other violation is a fault of ours, which a retry repeats. */
function isLostRace(error: unknown): boolean {
  return isDeadlock(error) || RACED_KEYS.some((key) => isUniqueViolation(error, key));
}

const RACED_KEYS = ['usage_event_ids_pkey', 'usage_holds_pkey'];

function withoutRow(keys: QuotaKey[], quotas: UsageQuota[]): QuotaKey[] {
  const there = new Set(quotas.map(({ ownerId, periodStart }) => `${ownerId} ${periodStart.getTime()}`));
  return keys.filter(({ ownerId, periodStart }) => !there.has(`${ownerId} ${periodStart.getTime()}`));
}

/** @throws {HoldMoved} for one whose period is not locked; the next attempt has it as it stands now */
function refreshHolds(group: Operation[], held: UsageHold[], keys: QuotaKey[]): void {
  const locked = new Set(keys.map(({ ownerId, periodStart }) => `${ownerId} ${periodStart.getTime()}`));
  let hasMoved = false;
  for (const operation of group) {
    if (!('hold' in operation) || !('periodStart' in operation.hold)) continue;
    const { ownerId, id } = operation.hold;
    const now = held.find((hold) => hold.id === id && hold.ownerId === ownerId);
    if (now === undefined || locked.has(`${ownerId} ${now.periodStart.getTime()}`)) continue;
    Object.assign(operation.hold, now);
    hasMoved = true;
  }
  if (hasMoved) throw new HoldMoved();
}

/** Those whose owner pays a provider by its meter. */
function meteredOf(events: NewUsage[], customers: Map<string, MeteredOwner>): MeteredEvent[] {
  return events.flatMap((event) => {
    const { provider, providerCustomerId } = customers.get(event.ownerId)!.entitlement.granting ?? {};
    if (provider === undefined || provider === 'manual' || providerCustomerId == null) return [];
    const { ownerId, eventId, occurredAt, model, inputTokens, outputTokens, cachedInputTokens, reasoningTokens, tokensUsed } = event;
    return [
      {
        provider,
        providerCustomerId,
        ownerId,
        eventId,
        occurredAt,
        model,
        inputTokens,
        outputTokens,
        cachedInputTokens,
        reasoningTokens,
        tokensUsed,
      },
    ];
  });
}

function strangersOf(group: Operation[]): { organizationId: string; userId: string }[] {
  return group.flatMap((operation) =>
    (operation.kind === 'hold' ? [operation.hold] : eventsOf(operation)).flatMap(({ needsMembershipCheck, actorUserId }) =>
      needsMembershipCheck ? [{ organizationId: operation.owner.id, userId: actorUserId! }] : [],
    ),
  );
}

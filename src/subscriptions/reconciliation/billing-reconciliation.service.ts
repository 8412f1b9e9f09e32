import { Injectable, type OnModuleInit } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { SYSTEM } from '../../access/principal.js';
import { JobsService } from '../../jobs/jobs.service.js';
import type { BillingProviderName } from '../../plans/plans.js';
import { Metrics } from '../../platform/metrics/metrics.service.js';
import { Clock } from '../../platform/time/clock.service.js';
import { MINUTE_MS } from '../../platform/time/durations.js';
import { versionOfRow } from '../../sync/event-version.js';
import { Reconciler, wouldRemoveMost } from '../../sync/reconciler.service.js';
import {
  CannotReconcile,
  SourceNotConfigured,
  type Comparison,
  type Finding,
  type Reconciliation,
  type ReconciliationOptions,
  type ReconciliationSource,
  type ReconciliationSummary,
} from '../../sync/reconciliation.port.js';
import { type BillingProvider, BillingProviders, type ProviderSubscription } from '../sync/billing-provider.port.js';
import { SyncedSubscriptionsService } from '../sync/synced-subscriptions.service.js';
import { ComparedSubscriptionsRepository } from './compared-subscriptions.repository.js';
import { compareSubscription } from './subscription-comparison.js';

const KINDS = ['missing', 'stale', 'extra'] as const;
/** Live subscriptions to look up before repairing, to detect the key of another account. */
const ACCOUNT_SAMPLE_SIZE = 20;
const BATCH = 100;

/** Compares subscriptions with the APIs of the billing providers (docs/decisions/0016). */
@Injectable()
export class BillingReconciliation implements Reconciliation, OnModuleInit {
  private readonly differences: Gauge<'provider' | 'kind' | 'outcome'>;

  constructor(
    private readonly providers: BillingProviders,
    private readonly repository: ComparedSubscriptionsRepository,
    private readonly synced: SyncedSubscriptionsService,
    private readonly reconciler: Reconciler,
    private readonly jobs: JobsService,
    private readonly clock: Clock,
    metrics: Metrics,
  ) {
    this.differences = new Gauge({
      name: 'tenantry_billing_differences',
      help: 'Differences that the last reconciliation with a billing provider found, and how many it repaired',
      labelNames: ['provider', 'kind', 'outcome'],
      registers: [metrics.registry],
    });
  }

  onModuleInit(): void {
    if (this.providers.configured().length === 0) return;
    this.jobs.register({
      name: 'reconcile_billing',
      description: 'Compares subscriptions with the billing providers, and repairs what differs',
      everySeconds: 86_400,
      run: (signal) => this.reconciler.runNightly(this, signal),
    });
  }

  /** @param options `only` is the name of a provider */
  async reconcile(options: ReconciliationOptions = {}): Promise<ReconciliationSummary> {
    const { only } = options;
    const chosen = this.providers.configured().filter(({ name }) => only === undefined || name === only);
    if (chosen.length === 0)
      throw new SourceNotConfigured(
        only === undefined ? 'No billing provider is configured.' : `${only} is not configured: there is no key to its API.`,
      );
    return this.reconciler.reconcile(
      chosen.map((provider) => this.sourceOf(provider)),
      options,
    );
  }

  /**
   * Whether the provider knows at least one of our live subscriptions. Undefined if there is none to look up.
   * @param exceptIds subscriptions that may have ended at the provider
   */
  async isOurAccount(provider: BillingProvider, exceptIds: string[], signal?: AbortSignal): Promise<boolean | undefined> {
    const ids = await this.repository.sampleLive(provider.name, { exceptIds, limit: ACCOUNT_SAMPLE_SIZE });
    for (const id of ids) if ((await provider.findSubscription(id, signal)) !== undefined) return true;
    return ids.length === 0 ? undefined : false;
  }

  private sourceOf(provider: BillingProvider): ReconciliationSource {
    return {
      comparisons: (options) => this.comparisons(provider, options),
      onComplete: (counts) => this.measure(provider.name, counts),
    };
  }

  private async *comparisons(provider: BillingProvider, options: ReconciliationOptions): AsyncGenerator<Comparison, void> {
    const { fix, force, resume, signal } = options;
    if (fix === true && force !== true && (await this.isOurAccount(provider, [], signal)) === false)
      throw keyOfAnotherAccount(`${provider.name} knows none of our subscriptions`);
    const cursor = resume === true ? await this.repository.findCursor(provider.name) : undefined;
    const listed = new Set<string>();
    if (cursor?.phase !== 'ours') yield* this.compareListed(provider, cursor?.position ?? undefined, listed, options);
    yield* this.compareUnlisted(provider, cursor?.phase === 'ours' ? cursor.position : null, listed, options);
    if (resume === true) await this.repository.deleteCursor(provider.name);
  }

  private async *compareListed(
    provider: BillingProvider,
    from: string | undefined,
    listed: Set<string>,
    { resume, signal }: ReconciliationOptions,
  ): AsyncGenerator<Comparison, void> {
    let position = from;
    while (true) {
      const { subscriptions, next } = await provider.listSubscriptions(position, signal);
      const differing = await this.findDifferingIds(provider.name, subscriptions);
      for (const id of differing) yield this.comparisonOf(provider, id);
      // A subscription that has ended on both sides is not compared again.
      for (const { id, snapshot } of subscriptions) if (differing.has(id) || snapshot?.status !== 'canceled') listed.add(id);
      if (next === null) break;
      position = next;
      if (resume === true) await this.repository.saveCursor({ provider: provider.name, phase: 'theirs', position });
    }
    if (resume === true) await this.repository.saveCursor({ provider: provider.name, phase: 'ours', position: null });
  }

  /** Our live subscriptions that the provider did not list. A resumed run also checks subscriptions of pages read before the interruption. */
  private async *compareUnlisted(
    provider: BillingProvider,
    from: string | null,
    listed: Set<string>,
    { fix, force, resume, signal }: ReconciliationOptions,
  ): AsyncGenerator<Comparison, void> {
    const extra: string[] = [];
    let after = from;
    while (true) {
      const rows = await this.repository.listLive(provider.name, { after, limit: BATCH });
      for (const id of rows.map(({ providerSubscriptionId }) => providerSubscriptionId!).filter((one) => !listed.has(one))) {
        const [finding] = await this.compare(provider, id, signal);
        if (finding?.kind === 'extra') extra.push(id);
        else if (finding !== undefined) yield this.comparisonOf(provider, id);
      }
      if (rows.length < BATCH) break;
      after = rows.at(-1)!.id;
      // Extra rows are repaired last, once their number is known. A resumed run has to find them again.
      if (resume === true && extra.length === 0)
        await this.repository.saveCursor({ provider: provider.name, phase: 'ours', position: after });
    }
    const total = await this.repository.countLive(provider.name);
    const isSuspicious = (extra.length > 0 && extra.length === total) || wouldRemoveMost(extra.length, total);
    if (fix === true && force !== true && isSuspicious)
      throw keyOfAnotherAccount(`${provider.name} does not know ${extra.length} of our ${total} subscriptions`);
    for (const id of extra) yield this.comparisonOf(provider, id);
  }

  private async findDifferingIds(provider: BillingProviderName, remoteSubscriptions: ProviderSubscription[]): Promise<Set<string>> {
    const found = await this.repository.findAll(
      provider,
      remoteSubscriptions.map(({ id }) => id),
    );
    const rows = new Map(found.map((row) => [row.providerSubscriptionId, row]));
    const settledBefore = this.aMinuteAgo();
    const differing = remoteSubscriptions.filter((remote) => compareSubscription(rows.get(remote.id), remote, settledBefore) !== undefined);
    return new Set(differing.map(({ id }) => id));
  }

  private comparisonOf(provider: BillingProvider, id: string): Comparison {
    return (signal) => this.compare(provider, id, signal);
  }

  private async compare(provider: BillingProvider, id: string, signal?: AbortSignal): Promise<Finding[]> {
    const [row] = await this.repository.findAll(provider.name, [id]);
    const remote = await provider.findSubscription(id, signal);
    const difference = compareSubscription(row, remote, this.aMinuteAgo());
    if (difference === undefined) return [];
    const { isRepairable, ...rest } = difference;
    const finding = { ...rest, resource: `${provider.name} subscription`, id };
    if (!isRepairable) return [finding];
    if (remote === undefined) return [{ ...finding, repair: (tx) => this.synced.end(row!, tx) }];
    const context = { version: remote.version, actor: SYSTEM, expectedVersion: row && versionOfRow(row) };
    return [{ ...finding, repair: (tx) => this.synced.apply(remote.snapshot!, context, tx) }];
  }

  private measure(provider: BillingProviderName, counts: ReconciliationSummary['counts']): void {
    for (const kind of KINDS) {
      const { found, repaired } = counts.get(`${kind} ${provider} subscription`) ?? { found: 0, repaired: 0 };
      this.differences.set({ provider, kind, outcome: 'found' }, found);
      this.differences.set({ provider, kind, outcome: 'repaired' }, repaired);
    }
  }

  private aMinuteAgo(): Date {
    return new Date(this.clock.now().getTime() - MINUTE_MS);
  }
}

function keyOfAnotherAccount(finding: string): CannotReconcile {
  return new CannotReconcile(`${finding}: this looks like the key of another account. Use --force to repair anyway.`);
}

import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { Counter } from 'prom-client';
import { SYSTEM } from '../../access/principal.js';
import { Clock } from '../../platform/time/clock.service.js';
import { versionOfRow } from '../../sync/event-version.js';
import { Metrics } from '../../platform/metrics/metrics.service.js';
import { DATABASE, type Database } from '../../platform/database/database.js';
import { isRetryable } from '../../platform/database/database-errors.js';
import { JobsService } from '../../jobs/jobs.service.js';
import { type BillingProvider, BillingProviderFailed, BillingProviders } from '../sync/billing-provider.port.js';
import { BillingReconciliation } from './billing-reconciliation.service.js';
import { ComparedSubscriptionsRepository } from './compared-subscriptions.repository.js';
import { isOlder } from './subscription-comparison.js';
import type { Subscription } from '../subscriptions.table.js';
import { SyncedSubscriptionsService } from '../sync/synced-subscriptions.service.js';
import { HOUR_MS, MINUTE_MS } from '../../platform/time/durations.js';

const BATCH = 10;
/** Longer than a batch takes. After it, the rows of a dead process are due again. */
const CLAIM_MS = HOUR_MS;
/** The pause after a provider was unavailable. */
const RETRY_MS = 5 * MINUTE_MS;

/** The result of a check; `overtaken` if an event wrote the row first. */
type Outcome = 'confirmed' | 'gone' | 'overtaken' | 'unreadable' | 'unanswered';

/** What one run has learned about the providers. */
interface Run {
  signal: AbortSignal;
  /** Unavailable providers. */
  away: Set<string>;
  isOurAccount: Map<string, boolean>;
}

/** Asks the providers about subscriptions that passed a date without an event (docs/decisions/0045). */
@Injectable()
export class RenewalChecks implements OnModuleInit {
  private readonly logger = new Logger(RenewalChecks.name);
  private readonly checks: Counter<'provider' | 'outcome'>;

  constructor(
    private readonly providers: BillingProviders,
    private readonly repository: ComparedSubscriptionsRepository,
    private readonly reconciliation: BillingReconciliation,
    private readonly synced: SyncedSubscriptionsService,
    private readonly jobs: JobsService,
    private readonly clock: Clock,
    metrics: Metrics,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.checks = new Counter({
      name: 'tenantry_subscription_checks_total',
      help: 'Subscriptions that passed a date without an event, by the result of asking their provider',
      labelNames: ['provider', 'outcome'],
      registers: [metrics.registry],
    });
  }

  onModuleInit(): void {
    this.jobs.register({
      name: 'confirm_subscriptions',
      description: 'Asks the billing providers about subscriptions that passed a date without an event',
      everySeconds: 60,
      run: (signal) => this.confirmDue(signal),
    });
  }

  /** Returns the number of checked subscriptions. */
  async confirmDue(signal: AbortSignal): Promise<number> {
    const run: Run = { signal, away: new Set(), isOurAccount: new Map() };
    for (let total = 0; ;) {
      const now = this.clock.now();
      const rows = signal.aborted ? [] : await this.repository.claimDue({ now, until: new Date(now.getTime() + CLAIM_MS), limit: BATCH });
      for (const row of rows) this.checks.inc({ provider: row.provider, outcome: await this.check(row, run) });
      total += rows.length;
      if (rows.length < BATCH) return total;
    }
  }

  private async check(row: Subscription, run: Run): Promise<Outcome> {
    const provider = this.providers.get(row.provider);
    if (provider?.isConfigured !== true) return this.leave(row, run, `There is no key to the API of ${row.provider}.`);
    if (run.away.has(row.provider) || run.signal.aborted) return this.postpone(row);
    try {
      return await this.ask(provider, row, run);
    } catch (error) {
      if (run.signal.aborted || isRetryable(error)) return this.postpone(row);
      if (!(error instanceof BillingProviderFailed)) throw error;
      // A refusal may concern this subscription only.
      return error.isRetryable ? this.leave(row, run, error) : this.refused(row, error);
    }
  }

  private async ask(provider: BillingProvider, row: Subscription, run: Run): Promise<Outcome> {
    const remote = await provider.findSubscription(row.providerSubscriptionId!, run.signal);
    if (remote === undefined) {
      if (!(await this.isOurAccount(provider, row, run)))
        return this.leave(row, run, `${provider.name} knows none of our subscriptions: this looks like the key of another account`);
      return (await this.db.transaction((tx) => this.synced.end(row, tx))) ? 'gone' : 'overtaken';
    }
    const { snapshot, version } = remote;
    if (snapshot === undefined || isOlder(remote, row)) {
      const why = remote.readError ?? 'the answer is older than an event of it';
      this.logger.error({ subscriptionId: row.id, provider: provider.name }, `A subscription cannot be confirmed: ${why}`);
      return 'unreadable';
    }
    const context = { version, actor: SYSTEM, expectedVersion: versionOfRow(row) };
    return (await this.db.transaction((tx) => this.synced.apply(snapshot, context, tx))) ? 'confirmed' : 'overtaken';
  }

  private async isOurAccount(provider: BillingProvider, { providerSubscriptionId }: Subscription, run: Run): Promise<boolean> {
    const known = run.isOurAccount.get(provider.name);
    // Without a known subscription the account is unconfirmed, so nothing is ended.
    const isOurs = known ?? (await this.reconciliation.isOurAccount(provider, [providerSubscriptionId!], run.signal)) === true;
    run.isOurAccount.set(provider.name, isOurs);
    return isOurs;
  }

  /** Logs once in a run, and skips the other subscriptions of the provider. */
  private async leave(row: Subscription, run: Run, why: string | Error): Promise<Outcome> {
    if (!run.away.has(row.provider)) {
      const err = why instanceof Error ? why : undefined;
      this.logger.error({ err, provider: row.provider }, `Subscriptions stay unconfirmed: ${err?.message ?? String(why)}`);
    }
    run.away.add(row.provider);
    return this.postpone(row);
  }

  private async refused(row: Subscription, error: BillingProviderFailed): Promise<Outcome> {
    this.logger.error(
      { err: error, subscriptionId: row.id, provider: row.provider },
      `A subscription cannot be confirmed: ${error.message}`,
    );
    return this.postpone(row);
  }

  private async postpone(row: Subscription): Promise<Outcome> {
    await this.repository.postpone(row, new Date(this.clock.now().getTime() + RETRY_MS));
    return 'unanswered';
  }
}

import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { SYSTEM } from '../../access/principal.js';
import { Clock } from '../../platform/time/clock.service.js';
import { keyOfRow } from '../../sync/event-version.js';
import { Metrics } from '../../platform/metrics/metrics.service.js';
import { DATABASE, type Database } from '../../platform/database/database.js';
import { isRetryable } from '../../platform/database/database-errors.js';
import { JobsService } from '../../jobs/jobs.service.js';
import type { BillingProviderName } from '../../plans/plans.js';
import { type BillingProvider, BillingProviders, type ProviderSubscription } from '../sync/billing-provider.port.js';
import type { ReconciliationCursor } from './reconciliation-cursors.table.js';
import { ComparedSubscriptionsRepository } from './compared-subscriptions.repository.js';
import { compare, type Finding } from './subscription-comparison.js';
import type { Subscription } from '../subscriptions.table.js';
import { SyncedSubscriptionsService } from '../sync/synced-subscriptions.service.js';

export interface Difference extends Pick<Finding, 'kind' | 'what'> {
  provider: BillingProviderName;
  /** The provider's. */
  id: string;
  isRepaired: boolean;
}

export interface Summary {
  /** How many of each kind, as `missing polar`. */
  counts: Map<`${Finding['kind']} ${BillingProviderName}`, number>;
  found: number;
  repaired: number;
}

export interface Options {
  /** Of all that are set up only this one. */
  provider?: string;
  /** Brings our rows in line with the provider. */
  fix?: boolean;
  /** Also when most of our subscriptions would end. */
  force?: boolean;
  signal?: AbortSignal;
  onDifference?: (difference: Difference) => void;
}

interface Run extends Omit<Options, 'provider'> {
  /** Goes on where one was cut off, and remembers how far it came. */
  resumes: boolean;
  differences: Difference[];
}

/** Why nothing was compared, or not all of it repaired. */
export class CannotReconcileBilling extends Error {}

const KINDS = ['missing', 'stale', 'extra'] as const;

/** An event may come in between, and mend it or change it once more. */
const TRIES = 3;
/** So many may be gone at the provider, however few we have. */
const FEW = 10;
/** So many of ours are asked about, at most, to see whose account it is. */
const SAMPLE = 20;
const BATCH = 100;
const MINUTE_MS = 60_000;

/** One subscription, looked at on both sides. */
interface Look {
  row: Subscription | undefined;
  remote: ProviderSubscription | undefined;
  finding: Finding | undefined;
}

/**
 * Compares our subscriptions with what their providers' APIs show, and repairs what differs: events get lost, and
 * rows get changed by hand. What seems to differ is looked at once more by itself, since events may be under way
 * (docs/decisions/0016).
 */
@Injectable()
export class BillingReconciliation implements OnModuleInit {
  private readonly logger = new Logger(BillingReconciliation.name);
  private readonly gauge: Gauge<'provider' | 'kind' | 'outcome'>;

  constructor(
    private readonly providers: BillingProviders,
    private readonly repository: ComparedSubscriptionsRepository,
    private readonly synced: SyncedSubscriptionsService,
    private readonly jobs: JobsService,
    private readonly clock: Clock,
    metrics: Metrics,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.gauge = new Gauge({
      name: 'tenantry_billing_differences',
      help: 'What the last reconciliation with a billing provider found, and what of it was repaired',
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
      run: (signal) => this.runJob(signal),
    });
  }

  /**
   * Tells every difference, and repairs it where that is asked for and possible.
   *
   * @throws {CannotReconcileBilling} without a provider, or with a key that seems to be another account's
   * @throws {BillingProviderFailed} when one cannot be asked; what was repaired until then stays so
   */
  async reconcile({ provider: wanted, ...options }: Options = {}): Promise<Summary> {
    const chosen = this.providers.configured().filter(({ name }) => wanted === undefined || name === wanted);
    if (chosen.length === 0)
      throw new CannotReconcileBilling(
        wanted === undefined ? 'No billing provider is set up.' : `${wanted} is not set up: there is no key to its API.`,
      );
    const run: Run = { ...options, resumes: false, differences: [] };
    for (const provider of chosen) await this.walk(provider, run);
    return summaryOf(run.differences);
  }

  /**
   * A key to another account would end everything that is alive here, and bring strangers in. Asks about some of
   * ours until the provider knows one; answers undefined where there is none to ask about.
   *
   * @param except those whose end is in question
   */
  async isOurAccount(provider: BillingProvider, except: string[], signal?: AbortSignal): Promise<boolean | undefined> {
    const ids = await this.repository.sampleLive(provider.name, { except, limit: SAMPLE });
    for (const id of ids) if ((await provider.findSubscription(id, signal)) !== undefined) return true;
    return ids.length === 0 ? undefined : false;
  }

  private async runJob(signal: AbortSignal): Promise<number> {
    const run: Run = { fix: true, signal, resumes: true, differences: [] };
    const failures: unknown[] = [];
    for (const provider of this.providers.configured()) {
      try {
        await this.walk(provider, run);
      } catch (error) {
        // One that is away must not keep us from the other.
        if (!signal.aborted) failures.push(error);
      }
    }
    const { found, repaired, counts } = summaryOf(run.differences);
    if (found > 0) this.logger.warn({ ...Object.fromEntries(counts), repaired }, 'Our subscriptions differed from what the providers have');
    if (failures.length > 0) throw failures.length === 1 ? failures[0] : new AggregateError(failures, failures.map(String).join('; '));
    return found;
  }

  private async walk(provider: BillingProvider, run: Run): Promise<void> {
    if (run.fix === true && run.force !== true && (await this.isOurAccount(provider, [], run.signal)) === false)
      throw new CannotReconcileBilling(`${provider.name} knows none of our subscriptions${ANOTHER_ACCOUNT}`);
    const before = run.differences.length;
    const place = run.resumes ? await this.repository.findWalk(provider.name) : undefined;
    const shown = new Set<string>();
    if (place?.phase !== 'ours') await this.walkTheirs(provider, place?.position ?? undefined, shown, run);
    await this.walkOurs(provider, place?.phase === 'ours' ? place.position : null, shown, run);
    if (run.resumes) await this.repository.deleteWalk(provider.name);
    this.measure(provider.name, run.differences.slice(before));
  }

  /** All that the provider shows, a page at a time. */
  private async walkTheirs(provider: BillingProvider, from: string | undefined, shown: Set<string>, run: Run): Promise<void> {
    for (let position = from; ;) {
      const { subscriptions, next } = await provider.listSubscriptions(position, run.signal);
      const suspects = await this.suspectsAmong(provider.name, subscriptions);
      for (const id of suspects) await this.settle(provider, id, run);
      // What is over on both sides need not be remembered.
      for (const { id, snapshot } of subscriptions) if (suspects.has(id) || snapshot?.status !== 'canceled') shown.add(id);
      if (next === null) break;
      position = next;
      await this.remember({ provider: provider.name, phase: 'theirs', position }, run);
    }
    await this.remember({ provider: provider.name, phase: 'ours', position: null }, run);
  }

  /**
   * All that we believe alive and that was not shown. What a run before this one was shown is asked for, too: that
   * costs calls, and is right all the same.
   */
  private async walkOurs(provider: BillingProvider, from: string | null, shown: Set<string>, run: Run): Promise<void> {
    const gone: string[] = [];
    for (let after = from; ;) {
      const rows = await this.repository.listLive(provider.name, { after, limit: BATCH });
      for (const id of rows.map(({ providerSubscriptionId }) => providerSubscriptionId!).filter((one) => !shown.has(one))) {
        const { finding } = await this.look(provider, id, run.signal);
        if (finding?.kind === 'extra') gone.push(id);
        else if (finding !== undefined) await this.settle(provider, id, run);
      }
      if (rows.length < BATCH) break;
      after = rows.at(-1)!.id;
      // Those that are gone wait for their number to be known: a run that is cut off has to meet them again.
      if (gone.length === 0) await this.remember({ provider: provider.name, phase: 'ours', position: after }, run);
    }
    const living = await this.repository.countLive(provider.name);
    if (run.fix === true && run.force !== true && isMost(gone.length, living))
      throw new CannotReconcileBilling(`${provider.name} does not know ${gone.length} of our ${living} subscriptions${ANOTHER_ACCOUNT}`);
    for (const id of gone) await this.settle(provider, id, run);
  }

  /** Which of some that a provider shows do not seem to be the same here. */
  private async suspectsAmong(provider: BillingProviderName, truths: ProviderSubscription[]): Promise<Set<string>> {
    const ids = truths.map(({ id }) => id);
    const rows = new Map((await this.repository.findAll(provider, ids)).map((row) => [row.providerSubscriptionId, row]));
    const young = this.aMinuteAgo();
    return new Set(truths.filter((remote) => compare(rows.get(remote.id), remote, young) !== undefined).map(({ id }) => id));
  }

  /** Looks once more at what seems to differ, tells of it, and repairs it. */
  private async settle(provider: BillingProvider, id: string, run: Run): Promise<void> {
    const first = await this.look(provider, id, run.signal);
    if (first.finding === undefined) return;
    const { kind, what } = first.finding;
    let now = first;
    for (let tries = 0; run.fix === true && now.finding?.isRepairable === true && tries < TRIES; tries += 1) {
      await this.repair(now);
      now = await this.look(provider, id, run.signal);
    }
    const difference = { provider: provider.name, id, kind, what, isRepaired: now.finding === undefined };
    run.differences.push(difference);
    run.onDifference?.(difference);
  }

  /** Our row first: what the provider shows is then no older than what its events have written here. */
  private async look(provider: BillingProvider, id: string, signal?: AbortSignal): Promise<Look> {
    const [row] = await this.repository.findAll(provider.name, [id]);
    const remote = await provider.findSubscription(id, signal);
    return { row, remote, finding: compare(row, remote, this.aMinuteAgo()) };
  }

  private async repair({ row, remote }: Look): Promise<void> {
    try {
      await this.db.transaction(async (tx) => {
        if (remote === undefined) await this.synced.end(row!, tx);
        else
          await this.synced.apply(remote.snapshot!, { version: remote.version, actor: SYSTEM, expectedVersion: row && keyOfRow(row) }, tx);
      });
    } catch (error) {
      // An event got in its way; both sides are looked at again.
      if (!isRetryable(error)) throw error;
    }
  }

  private async remember(walk: Pick<ReconciliationCursor, 'provider' | 'phase' | 'position'>, run: Run): Promise<void> {
    if (run.resumes) await this.repository.saveWalk(walk);
  }

  private measure(provider: BillingProviderName, differences: Difference[]): void {
    for (const kind of KINDS) {
      const found = differences.filter((difference) => difference.kind === kind);
      this.gauge.set({ provider, kind, outcome: 'found' }, found.length);
      this.gauge.set({ provider, kind, outcome: 'repaired' }, found.filter(({ isRepaired }) => isRepaired).length);
    }
  }

  private aMinuteAgo(): Date {
    return new Date(this.clock.now().getTime() - MINUTE_MS);
  }
}

const ANOTHER_ACCOUNT = ': this looks like the key of another account. They were left as they are; --force repairs all the same.';

/** All of them, however few, or most of many. */
function isMost(gone: number, of: number): boolean {
  return (gone > 0 && gone === of) || (gone > FEW && gone > of / 2);
}

function summaryOf(differences: Difference[]): Summary {
  const counts: Summary['counts'] = new Map();
  for (const { kind, provider } of differences) counts.set(`${kind} ${provider}`, (counts.get(`${kind} ${provider}`) ?? 0) + 1);
  return { counts, found: differences.length, repaired: differences.filter(({ isRepaired }) => isRepaired).length };
}

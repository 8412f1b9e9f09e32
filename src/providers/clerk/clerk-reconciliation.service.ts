import { Injectable, type OnModuleInit } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { JobsService } from '../../jobs/jobs.service.js';
import { SyncedMembershipsService } from '../../memberships/synced-memberships.service.js';
import { SyncedOrganizationsService } from '../../organizations/synced-organizations.service.js';
import { Config } from '../../platform/config/config.js';
import { Metrics } from '../../platform/metrics/metrics.service.js';
import { Reconciler, wouldRemoveMost } from '../../sync/reconciler.service.js';
import {
  CannotReconcile,
  SourceNotConfigured,
  type Comparison,
  type Reconciliation,
  type ReconciliationOptions,
  type ReconciliationSource,
  type ReconciliationSummary,
} from '../../sync/reconciliation.port.js';
import { SyncedUsersService } from '../../users/synced-users.service.js';
import { ClerkApi, type ClerkObject, MAX_IDS_PER_CALL } from './clerk-api.client.js';
import { ClerkComparison } from './clerk-comparison.service.js';

const KINDS = ['missing', 'stale', 'extra'] as const;
const RESOURCES = ['user', 'organization', 'membership'] as const;

/** Compares users, organizations and memberships with Clerk's API, a page at a time (docs/decisions/0014). */
@Injectable()
export class ClerkReconciliation implements Reconciliation, ReconciliationSource, OnModuleInit {
  /** How many listed members of one organization are remembered. Clerk is asked about the others. */
  readonly limits = { remembered: 10_000 };
  private readonly differences: Gauge<'kind' | 'object'>;

  constructor(
    private readonly api: ClerkApi,
    private readonly comparison: ClerkComparison,
    private readonly users: SyncedUsersService,
    private readonly organizations: SyncedOrganizationsService,
    private readonly memberships: SyncedMembershipsService,
    private readonly reconciler: Reconciler,
    private readonly jobs: JobsService,
    private readonly config: Config,
    metrics: Metrics,
  ) {
    this.differences = new Gauge({
      name: 'tenantry_clerk_differences',
      help: 'Differences that the last reconciliation with Clerk found, repaired or not',
      labelNames: ['kind', 'object'],
      registers: [metrics.registry],
    });
  }

  onModuleInit(): void {
    if (!this.api.isConfigured) return;
    this.jobs.register({
      name: 'reconcile_clerk',
      description: 'Compares users, organizations and memberships with Clerk, and repairs what differs',
      everySeconds: 86_400,
      run: (signal) => this.reconciler.runNightly(this, signal),
    });
  }

  async reconcile(options?: ReconciliationOptions): Promise<ReconciliationSummary> {
    return this.reconciler.reconcile([this], options);
  }

  async *comparisons(options: ReconciliationOptions): AsyncGenerator<Comparison, void> {
    const { api, comparison } = this;
    const { signal } = options;
    await this.refuseOtherInstance(options);
    // Deleted objects go first: they release addresses and slugs.
    for await (const ids of this.unknownUsers(signal)) for (const id of ids) yield comparison.ofUser(id);
    for await (const page of inBatches(api.listAllUsers(signal))) yield* comparison.candidates(comparison.users, page);
    for await (const ids of this.unknownOrganizations(signal)) for (const id of ids) yield comparison.ofOrganization(id);
    for await (const page of inBatches(api.listAllOrganizations(signal))) {
      yield* comparison.candidates(comparison.organizations, page);
      for (const { id } of page) yield* this.compareMemberships(id, signal);
    }
  }

  onComplete(counts: ReconciliationSummary['counts']): void {
    for (const kind of KINDS)
      for (const object of RESOURCES) this.differences.set({ kind, object }, counts.get(`${kind} ${object}`)?.found ?? 0);
  }

  private async *compareMemberships(clerkOrganizationId: string, signal?: AbortSignal): AsyncGenerator<Comparison, void> {
    const [organization] = await this.organizations.findAll([clerkOrganizationId]);
    const { comparison } = this;
    const listed = new Set<string>();
    for await (const page of inBatches(this.api.listAllMemberships(clerkOrganizationId, signal))) {
      yield* comparison.candidates(comparison.memberships, page);
      for (const { id } of page) if (listed.size < this.limits.remembered) listed.add(id);
    }
    if (organization === undefined) return;
    const members = pagesOf(
      (page) => this.memberships.listClerkIds(organization.id, page),
      ({ clerkMembershipId }) => clerkMembershipId,
    );
    for await (const page of members) {
      const unlisted = page.filter(({ clerkMembershipId }) => !listed.has(clerkMembershipId));
      if (unlisted.length === 0) continue;
      const userIds = unlisted.map(({ clerkUserId }) => clerkUserId);
      const known = idsOf(await this.api.findMemberships(clerkOrganizationId, userIds, signal));
      for (const { clerkMembershipId, clerkUserId } of unlisted)
        if (!known.has(clerkMembershipId)) yield comparison.ofMembership(clerkMembershipId, clerkOrganizationId, clerkUserId);
    }
  }

  /** Our users that Clerk does not list. */
  private async *unknownUsers(signal?: AbortSignal): AsyncGenerator<string[], void> {
    for await (const ids of pagesOf((page) => this.users.listClerkIds(page))) {
      const known = idsOf(await this.api.findUsers(ids, signal));
      yield ids.filter((id) => !known.has(id));
    }
  }

  private async *unknownOrganizations(signal?: AbortSignal): AsyncGenerator<string[], void> {
    for await (const ids of pagesOf((page) => this.organizations.listClerkIds(page))) {
      const known = idsOf(await this.api.findOrganizations(ids, signal));
      yield ids.filter((id) => !known.has(id));
    }
  }

  /** The key of another instance would delete our users for ever (docs/decisions/0043). */
  private async refuseOtherInstance({ fix, force, signal }: ReconciliationOptions): Promise<void> {
    if (!this.api.isConfigured) throw new SourceNotConfigured('CLERK_SECRET_KEY is not set: Clerk cannot be asked.');
    const { clerkInstanceId } = this.config;
    if (clerkInstanceId !== undefined) {
      const instanceId = await this.api.getInstanceId(signal);
      if (instanceId !== clerkInstanceId)
        throw new CannotReconcile(`CLERK_SECRET_KEY opens the instance ${instanceId}, but CLERK_INSTANCE_ID is ${clerkInstanceId}.`);
    }
    if (fix !== true || force === true) return;
    let unknown = 0;
    for await (const ids of this.unknownUsers(signal)) unknown += ids.length;
    const total = await this.users.countLive();
    const isUnconfirmed = clerkInstanceId === undefined && unknown > 0 && unknown === total;
    if (isUnconfirmed || wouldRemoveMost(unknown, total))
      throw new CannotReconcile(
        `Clerk does not know ${unknown} of our ${total} users: this looks like the key of another instance. Nothing was repaired. Use --force to repair anyway.`,
      );
  }
}

function idsOf(objects: ClerkObject[]): Set<string> {
  return new Set(objects.map(({ id }) => id));
}

async function* inBatches<T>(items: AsyncIterable<T>): AsyncGenerator<T[], void> {
  let batch: T[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length < MAX_IDS_PER_CALL) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** The pages of a list of ours that is sorted by Clerk's ids. */
async function* pagesOf<T>(
  list: (page: { after: string; limit: number }) => Promise<T[]>,
  idOf: (item: T) => string = String,
): AsyncGenerator<T[], void> {
  for (let after = ''; ;) {
    const page = await list({ after, limit: MAX_IDS_PER_CALL });
    if (page.length > 0) yield page;
    if (page.length < MAX_IDS_PER_CALL) return;
    after = idOf(page.at(-1)!);
  }
}

import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { Metrics } from '../../platform/metrics/metrics.service.js';
import { Config } from '../../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { isRetryable } from '../../platform/database/database-errors.js';
import { JobsService } from '../../jobs/jobs.service.js';
import { SyncedMembershipsService } from '../../memberships/synced-memberships.service.js';
import { SyncedOrganizationsService } from '../../organizations/synced-organizations.service.js';
import { SyncedUsersService } from '../../users/synced-users.service.js';
import { ClerkApi, type ClerkObject, MAX_IDS_PER_CALL } from './clerk-api.client.js';
import { ClerkComparison, type Dated, type Finding, type ComparedResource, type RemoteRef, type Row } from './clerk-comparison.service.js';
import { CannotReconcile } from './clerk.errors.js';

export interface Difference extends Pick<Finding, 'kind' | 'what'> {
  object: ComparedResource['name'];
  /** Clerk's. */
  id: string;
  isRepaired: boolean;
}

export interface Summary {
  /** How many of each kind, as `missing user`. */
  counts: Map<`${Difference['kind']} ${Difference['object']}`, number>;
  found: number;
  repaired: number;
}

export interface Options {
  /** Brings our rows in line with Clerk. */
  fix?: boolean;
  /** Also when most of our users would go. */
  force?: boolean;
  signal?: AbortSignal;
  onDifference?: (difference: Difference) => void;
}

interface Run extends Options {
  summary: Summary;
}

const KINDS = ['missing', 'stale', 'extra'] as const;
const OBJECTS = ['user', 'organization', 'membership'] as const;

/** An event may come in between, and mend it or change it once more. */
const TRIES = 3;
/** So many may be gone at Clerk, however few we have. */
const FEW = 10;
/**
 * Compares users, organizations and memberships with what Clerk's API shows, and repairs what differs: events
 * get lost, and rows get changed by hand. Both sides are read a page at a time, and what seems to differ is
 * looked at once more by itself, since events may be under way (docs/decisions/0014).
 */
@Injectable()
export class ClerkReconciliation implements OnModuleInit {
  /** Members of one organization whom Clerk has shown; it is asked about the others. */
  readonly limits = { remembered: 10_000 };
  private readonly logger = new Logger(ClerkReconciliation.name);
  private readonly differences: Gauge<'kind' | 'object'>;

  constructor(
    private readonly api: ClerkApi,
    private readonly comparison: ClerkComparison,
    private readonly users: SyncedUsersService,
    private readonly organizations: SyncedOrganizationsService,
    private readonly memberships: SyncedMembershipsService,
    private readonly jobs: JobsService,
    private readonly config: Config,
    metrics: Metrics,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.differences = new Gauge({
      name: 'tenantry_clerk_differences',
      help: 'What the last reconciliation with Clerk found, repaired or not',
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
      run: (signal) => this.runJob(signal),
    });
  }

  /**
   * Tells every difference, and repairs it where that is asked for and possible.
   *
   * @throws {CannotReconcile} without a key, or with one that seems to be another instance's
   * @throws {ClerkApiFailed} when Clerk cannot be asked; what was repaired until then stays so
   */
  async reconcile(options: Options = {}): Promise<Summary> {
    const summary: Summary = { counts: new Map(), found: 0, repaired: 0 };
    await this.walk({ ...options, summary });
    for (const kind of KINDS)
      for (const object of OBJECTS) this.differences.set({ kind, object }, summary.counts.get(`${kind} ${object}`) ?? 0);
    return summary;
  }

  private async runJob(signal: AbortSignal): Promise<number> {
    let seen = 0;
    try {
      const { found, repaired, counts } = await this.reconcile({ fix: true, signal, onDifference: () => (seen += 1) });
      if (found > 0) this.logger.warn({ ...Object.fromEntries(counts), repaired }, 'Our rows differed from what Clerk has');
      return found;
    } catch (error) {
      if (signal.aborted) return seen;
      throw error;
    }
  }

  private async walk(run: Run): Promise<void> {
    const { api, comparison } = this;
    const { signal } = run;
    await this.refuseOtherInstance(run);
    // What is gone goes first: it lets go of addresses and slugs.
    for await (const gone of this.usersGone(signal)) for (const id of gone) await this.settle(comparison.users, { id }, run);
    for await (const some of inBatches(api.listAllUsers(signal))) await this.settleSuspects(comparison.users, some, run);
    for await (const gone of this.organizationsGone(signal))
      for (const id of gone) await this.settle(comparison.organizations, { id }, run);
    for await (const some of inBatches(api.listAllOrganizations(signal))) {
      await this.settleSuspects(comparison.organizations, some, run);
      for (const { id } of some) await this.walkMemberships(id, run);
    }
  }

  private async walkMemberships(clerkOrganizationId: string, run: Run): Promise<void> {
    const [home] = await this.organizations.findAll([clerkOrganizationId]);
    const { memberships } = this.comparison;
    const seen = new Set<string>();
    for await (const some of inBatches(this.api.listAllMemberships(clerkOrganizationId, run.signal))) {
      await this.settleSuspects(memberships, some, run);
      for (const { id } of some) if (seen.size < this.limits.remembered) seen.add(id);
    }
    if (home === undefined) return;
    for await (const members of pagesOf(
      (page) => this.memberships.listClerkIds(home.id, page),
      ({ clerkMembershipId }) => clerkMembershipId,
    )) {
      const unseen = members.filter(({ clerkMembershipId }) => !seen.has(clerkMembershipId));
      if (unseen.length === 0) continue;
      const userIds = unseen.map(({ clerkUserId }) => clerkUserId);
      const known = idsOf(await this.api.findMemberships(clerkOrganizationId, userIds, run.signal));
      for (const { clerkMembershipId: id, clerkUserId } of unseen)
        if (!known.has(id)) await this.settle(memberships, { id, clerkOrganizationId, clerkUserId }, run);
    }
  }

  /** The living of ours whom Clerk does not seem to have. */
  private async *usersGone(signal?: AbortSignal): AsyncGenerator<string[], void> {
    for await (const ids of pagesOf((page) => this.users.listClerkIds(page))) {
      const known = idsOf(await this.api.findUsers(ids, signal));
      yield ids.filter((id) => !known.has(id));
    }
  }

  private async *organizationsGone(signal?: AbortSignal): AsyncGenerator<string[], void> {
    for await (const ids of pagesOf((page) => this.organizations.listClerkIds(page))) {
      const known = idsOf(await this.api.findOrganizations(ids, signal));
      yield ids.filter((id) => !known.has(id));
    }
  }

  private async refuseOtherInstance({ fix, force, signal }: Run): Promise<void> {
    if (!this.api.isConfigured) throw new CannotReconcile('CLERK_SECRET_KEY is not set: Clerk cannot be asked.');
    const { clerkInstanceId } = this.config;
    if (clerkInstanceId !== undefined) {
      const instanceId = await this.api.getInstanceId(signal);
      if (instanceId !== clerkInstanceId)
        throw new CannotReconcile(`CLERK_SECRET_KEY opens the instance ${instanceId}, but CLERK_INSTANCE_ID is ${clerkInstanceId}.`);
    }
    if (fix !== true || force === true) return;
    let gone = 0;
    for await (const some of this.usersGone(signal)) gone += some.length;
    const living = await this.users.countLiving();
    const isMost = gone > FEW && gone > living / 2;
    // A deletion is for ever: whom nobody has vouched for is not asked about one by one, however few they are.
    const isAll = clerkInstanceId === undefined && gone > 0 && gone === living;
    if (isMost || isAll)
      throw new CannotReconcile(
        `Clerk does not know ${gone} of our ${living} users: this looks like the key of another instance. Nothing was repaired; --force does it all the same.`,
      );
  }

  private async settleSuspects<At extends RemoteRef, Told extends Dated, R extends Row>(
    noun: ComparedResource<At, Told, R>,
    some: ClerkObject[],
    run: Run,
  ): Promise<void> {
    const { suspects, unreadable } = await this.comparison.suspects(noun, some);
    for (const { id, finding } of unreadable) tell(noun.name, id, finding, false, run);
    for (const at of suspects) await this.settle(noun, at, run);
  }

  /** Looks once more at what seems to differ, tells of it, and repairs it. */
  private async settle<At extends RemoteRef, Told extends Dated, R extends Row>(
    noun: ComparedResource<At, Told, R>,
    at: At,
    run: Run,
  ): Promise<void> {
    const found = await this.comparison.look(noun, at, run.signal);
    if (found === undefined) return;
    let left: Finding | undefined = found;
    for (let tries = 0; run.fix === true && left?.repair !== undefined && tries < TRIES; tries += 1) {
      await this.repair(left.repair);
      left = await this.comparison.look(noun, at, run.signal);
    }
    tell(noun.name, at.id, found, left === undefined, run);
  }

  private async repair(repair: (db: Queryable) => Promise<void>): Promise<void> {
    try {
      await this.db.transaction(repair);
    } catch (error) {
      // An event got in its way; both sides are looked at again.
      if (!isRetryable(error)) throw error;
    }
  }
}

function tell(
  object: ComparedResource['name'],
  id: string,
  { kind, what }: Finding,
  isRepaired: boolean,
  { summary, onDifference }: Run,
): void {
  const { counts } = summary;
  counts.set(`${kind} ${object}`, (counts.get(`${kind} ${object}`) ?? 0) + 1);
  summary.found += 1;
  if (isRepaired) summary.repaired += 1;
  onDifference?.({ kind, object, id, what, isRepaired });
}

function idsOf(things: ClerkObject[]): Set<string> {
  return new Set(things.map(({ id }) => id));
}

async function* inBatches<T>(things: AsyncIterable<T>): AsyncGenerator<T[], void> {
  let batch: T[] = [];
  for await (const thing of things) {
    batch.push(thing);
    if (batch.length < MAX_IDS_PER_CALL) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** Every page of a list of ours, which is sorted by Clerk's ids. */
async function* pagesOf<T>(
  list: (page: { after: string; limit: number }) => Promise<T[]>,
  idOf: (thing: T) => string = String,
): AsyncGenerator<T[], void> {
  for (let after = ''; ;) {
    const page = await list({ after, limit: MAX_IDS_PER_CALL });
    if (page.length > 0) yield page;
    if (page.length < MAX_IDS_PER_CALL) return;
    after = idOf(page.at(-1)!);
  }
}

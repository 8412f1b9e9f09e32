import { randomInt } from 'node:crypto';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { OrganizationNotFound } from '../access/access.errors.js';
import type { Actor, UserPrincipal } from '../access/principal.js';
import { AuditService, type RecordChange } from '../audit/audit.service.js';
import { InvalidRequest, ManagedByClerk } from '../platform/problems/problems.errors.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { newId } from '../platform/crypto/ids.js';
import { PurgedIds } from '../sync/purged-ids.service.js';
import { BATCH, removeAllKinds, sweepInSteps } from '../platform/queue/sweep.js';
import { Config } from '../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { ConcurrencyConflict, isUniqueViolation } from '../platform/database/database-errors.js';
import { retryTransaction } from '../platform/database/retry-transaction.js';
import { JobsService } from '../jobs/jobs.service.js';
import { MembershipsService } from '../memberships/memberships.service.js';
import { SubscriptionOwners } from '../subscriptions/customers/subscription-owners.service.js';
import { SlugReserved, SlugTaken } from './organizations.errors.js';
import { OrganizationsRepository, type OwnOrganization } from './organizations.repository.js';
import type { Organization } from './organizations.table.js';
import { isReservedSlug, normaliseSlug, slugAlternatives } from './slugs.js';
import { Clock } from '../platform/time/clock.service.js';
import { daysBefore } from '../platform/time/durations.js';

const SLUG_KEY = 'organizations_slug_key';
const SLUG_ATTEMPTS = 10;
const PURGED_AT_ONCE = 20;

export interface OrganizationProfile {
  name: string;
  slug?: string;
  imageUrl?: string | null;
}

@Injectable()
export class OrganizationsService implements OnModuleInit {
  private readonly record: RecordChange;

  constructor(
    private readonly repository: OrganizationsRepository,
    private readonly memberships: MembershipsService,
    private readonly subscriptions: SubscriptionOwners,
    audit: AuditService,
    private readonly purgedIds: PurgedIds,
    private readonly cursors: Cursors,
    private readonly jobs: JobsService,
    private readonly config: Config,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.record = audit.recorder('organization');
  }

  onModuleInit(): void {
    this.jobs.register({
      name: 'purge_organizations',
      description: 'Removes organizations whose deletion is older than the retention time',
      everySeconds: 3600,
      run: (signal) => this.purge(signal),
    });
  }

  async get(organizationId: string): Promise<Organization> {
    const organization = await this.repository.find(organizationId);
    if (organization === undefined) throw new OrganizationNotFound();
    return organization;
  }

  /** @throws {OrganizationNotFound} also for an outsider. Operators may read it, and that is audited. */
  async getBySlug(slug: string, { userId, operator, actor }: UserPrincipal): Promise<OwnOrganization> {
    const found = await this.repository.findBySlug(slug, userId);
    if (found === undefined || (found.role === null && !operator)) throw new OrganizationNotFound();
    if (found.role === null) await this.record('operator.read', found, { actor, after: { slug } }, this.db);
    return found;
  }

  async listOfUser(userId: string, { limit, cursor }: { limit: number; cursor?: string }): Promise<Page<OwnOrganization>> {
    const list = ['organizations', userId];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.repository.listOfUser(userId, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ createdAt, id }) => [createdAt.toISOString(), id] });
  }

  /** The caller becomes admin. Without a slug, one is made from the name. @throws {SlugTaken} @throws {SlugReserved} */
  async create(
    { userId, actor }: Pick<UserPrincipal, 'userId' | 'actor'>,
    { name, slug: requestedSlug, imageUrl }: OrganizationProfile,
    db: Queryable,
  ): Promise<OwnOrganization> {
    const profile = { name, imageUrl: imageUrl ?? null };
    const organization =
      requestedSlug === undefined
        ? await this.insertWithFreeSlug(profile, db)
        : await this.insertWithSlug(requireSlug(requestedSlug), profile, db);
    await this.memberships.add({ organizationId: organization.id, userId, role: 'admin' }, db);
    await this.record('organization.created', organization, { actor, after: profileOf(organization) }, db);
    return { ...organization, role: 'admin' };
  }

  /** @throws {SlugTaken} @throws {SlugReserved} @throws {ManagedByClerk} */
  async change(
    organizationId: string,
    { slug: requestedSlug, ...changes }: Partial<OrganizationProfile>,
    actor: Actor,
  ): Promise<Organization> {
    const slug = requestedSlug === undefined ? undefined : requireSlug(requestedSlug);
    const change = async (tx: Queryable) => {
      const before = await this.lockLocal(organizationId, tx);
      if (slug !== undefined && slug !== before.slug) await this.requireFreeSlug(slug, tx);
      const after = await this.repository.update(organizationId, { ...changes, slug: slug ?? before.slug }, tx);
      await this.record('organization.updated', after, { actor, before: profileOf(before), after: profileOf(after) }, tx);
      return after;
    };
    try {
      return await this.db.transaction(change);
    } catch (error) {
      // Another organization took the slug after the check. The search for a free one runs outside the failed transaction.
      if (slug !== undefined && isUniqueViolation(error, SLUG_KEY)) throw await this.slugTaken(slug, this.db);
      throw error;
    }
  }

  /** Deletes softly: members and API keys lose access at once, and the slug is free. @throws {ManagedByClerk} @throws {SubscriptionActive} */
  async delete(organizationId: string, { cancelSubscription }: { cancelSubscription: boolean }, actor: Actor): Promise<void> {
    await this.db.transaction(async (tx) => {
      const before = await this.lockLocal(organizationId, tx);
      await this.subscriptions.cancelFor({ id: organizationId, clerkId: null }, { cancel: cancelSubscription }, tx);
      await this.repository.update(organizationId, { deletedAt: this.clock.now() }, tx);
      await this.record('organization.deleted', before, { actor, before: profileOf(before) }, tx);
    });
  }

  /** Deletes the given organizations that have no members, and cancels their subscriptions. */
  async deleteWithoutMembers(organizationIds: string[], actor: Actor, db: Queryable): Promise<void> {
    for (const organizationId of organizationIds.toSorted()) {
      const before = await this.repository.lock(organizationId, db);
      const isLocal = before?.deletedAt === null && before.clerkOrganizationId === null;
      if (!isLocal || (await this.memberships.hasMembers(organizationId, db))) continue;
      await this.subscriptions.cancelFor({ id: organizationId, clerkId: null }, { cancel: true }, db);
      await this.repository.update(organizationId, { deletedAt: this.clock.now() }, db);
      await this.record('organization.deleted', before, { actor, before: profileOf(before) }, db);
    }
  }

  /** A slug that was taken meanwhile is replaced by a free one. @throws {OrganizationNotFound} also once its purge began */
  async restore(organizationId: string, actor: Actor): Promise<Organization> {
    const restore = async (tx: Queryable) => {
      const before = await this.repository.lock(organizationId, tx);
      if (before === undefined || before.purgeStartedAt !== null) throw new OrganizationNotFound();
      if (before.deletedAt === null) return before;
      if (before.clerkOrganizationId !== null) throw new ManagedByClerk();
      const slug = before.slug === null ? null : await this.firstFreeSlug([before.slug, ...alternatives(before.slug)], tx);
      const after = await this.repository.update(organizationId, { deletedAt: null, slug }, tx);
      // Its admins may have deleted themselves meanwhile: only a live organization keeps its last admin.
      await this.memberships.ensureAdmins([organizationId], tx);
      await this.subscriptions.resumeFor(organizationId, tx);
      await this.record('organization.restored', after, { actor, before: profileOf(before), after: profileOf(after) }, tx);
      return after;
    };
    // Another organization may take the slug between the check and the write.
    return retryTransaction(() => this.db.transaction(restore), {
      attempts: SLUG_ATTEMPTS,
      isRetryable: (error) => isUniqueViolation(error, SLUG_KEY),
    });
  }

  private async insertWithSlug(slug: string, profile: { name: string; imageUrl: string | null }, db: Queryable): Promise<Organization> {
    await this.requireFreeSlug(slug, db);
    const inserted = await this.repository.insert({ id: newId(), ...profile, slug }, db);
    if (inserted === undefined) throw await this.slugTaken(slug, db);
    return inserted;
  }

  /** The caller chose no slug, so one that is taken between the check and the write is replaced, not refused. */
  private async insertWithFreeSlug(profile: { name: string; imageUrl: string | null }, db: Queryable): Promise<Organization> {
    for (let attempt = 0; attempt < SLUG_ATTEMPTS; attempt += 1) {
      const slug = await this.slugFrom(profile.name, db);
      const inserted = await this.repository.insert({ id: newId(), ...profile, slug }, db);
      if (inserted !== undefined) return inserted;
    }
    throw new ConcurrencyConflict('Every slug was taken before it could be used');
  }

  private async lockLocal(organizationId: string, db: Queryable): Promise<Organization> {
    const organization = await this.repository.lock(organizationId, db);
    if (organization === undefined || organization.deletedAt !== null) throw new OrganizationNotFound();
    if (organization.clerkOrganizationId !== null) throw new ManagedByClerk();
    return organization;
  }

  private async slugFrom(name: string, db: Queryable): Promise<string> {
    const slug = normaliseSlug(name) ?? `organization-${randomSuffix()}`;
    return this.firstFreeSlug(isReservedSlug(slug) ? alternatives(slug) : [slug, ...alternatives(slug)], db);
  }

  /** Only the unique index is final: another organization may take the slug after this check. */
  private async requireFreeSlug(slug: string, db: Queryable): Promise<void> {
    if (isReservedSlug(slug)) throw new SlugReserved({ errors: await this.suggestion(slug, db) });
    if ((await this.repository.takenSlugs([slug], db)).size > 0) throw await this.slugTaken(slug, db);
  }

  private async slugTaken(slug: string, db: Queryable): Promise<SlugTaken> {
    return new SlugTaken({ errors: await this.suggestion(slug, db) });
  }

  private async suggestion(slug: string, db: Queryable) {
    const free = await this.firstFreeSlug(alternatives(slug), db);
    return [{ field: 'slug', message: `"${free}" is free` }];
  }

  private async firstFreeSlug(candidates: string[], db: Queryable): Promise<string> {
    const taken = await this.repository.takenSlugs(candidates, db);
    return candidates.find((slug) => !taken.has(slug)) ?? `organization-${randomSuffix()}`;
  }

  private async purge(signal: AbortSignal): Promise<number> {
    const before = daysBefore(this.clock.now(), this.config.purgeAfterDays);
    return sweepInSteps(signal, () => this.db.transaction((tx) => this.purgeSome(before, tx)));
  }

  /** Removes the rows of the organizations first, over as many transactions as they need. */
  private async purgeSome(before: Date, tx: Queryable): Promise<{ count: number; isLast: boolean }> {
    const purgeable = await this.repository.lockPurgeable(before, PURGED_AT_ONCE, tx);
    if (purgeable.length === 0) return { count: 0, isLast: true };
    const organizationIds = purgeable.map(({ id }) => id);
    const areEmpty = await removeAllKinds(BATCH, [
      (limit) => this.memberships.purge({ organizationIds }, limit, tx),
      (limit) => this.repository.purgeInvitations(organizationIds, limit, tx),
      (limit) => this.repository.removeApiKeys(organizationIds, limit, tx),
    ]);
    if (!areEmpty) {
      await this.repository.markPurging(organizationIds, tx);
      return { count: 0, isLast: false };
    }
    const clerkIds = purgeable.map(({ clerkOrganizationId }) => clerkOrganizationId);
    await this.purgedIds.add('clerk', 'organization', clerkIds, tx);
    await this.subscriptions.pinOwners(organizationIds, tx);
    await this.repository.remove(organizationIds, tx);
    return { count: purgeable.length, isLast: purgeable.length < PURGED_AT_ONCE };
  }
}

function requireSlug(slug: string): string {
  const normalised = normaliseSlug(slug);
  if (normalised === undefined)
    throw new InvalidRequest({ errors: [{ field: 'slug', message: 'slug must have at least two letters or digits' }] });
  return normalised;
}

function alternatives(slug: string): string[] {
  return slugAlternatives(slug, randomSuffix());
}

function randomSuffix(): string {
  return randomInt(36 ** 5, 36 ** 6).toString(36);
}

function profileOf({ name, slug, imageUrl }: Organization): object {
  return { name, slug, imageUrl };
}

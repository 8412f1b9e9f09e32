import { randomInt } from 'node:crypto';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { OrganizationNotFound } from '../access/access.errors.js';
import type { Actor, Principal } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { InvalidRequest, ManagedByClerk } from '../common/common.errors.js';
import { Cursors, type Page } from '../common/cursors.js';
import { newId } from '../common/ids.js';
import { PurgedIds } from '../common/purged-ids.js';
import { sweepInBatches } from '../common/sweep.js';
import { Config } from '../config/config.js';
import { DATABASE, type Database, type Queryable } from '../database/database.js';
import { isUniqueViolation } from '../database/database-errors.js';
import { JobsService } from '../jobs/jobs.service.js';
import { MembershipsService } from '../memberships/memberships.service.js';
import { SlugReserved, SlugTaken } from './organizations.errors.js';
import { OrganizationsRepository, type OwnOrganization } from './organizations.repository.js';
import type { Organization } from './organizations.table.js';
import { isReservedSlug, normaliseSlug, slugAlternatives } from './slugs.js';

export interface OrganizationProfile {
  name: string;
  slug?: string;
  imageUrl?: string | null;
}

@Injectable()
export class OrganizationsService implements OnModuleInit {
  constructor(
    private readonly repository: OrganizationsRepository,
    private readonly memberships: MembershipsService,
    private readonly audit: AuditService,
    private readonly purgedIds: PurgedIds,
    private readonly cursors: Cursors,
    private readonly jobs: JobsService,
    private readonly config: Config,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'purge_organizations',
      description: 'Removes organizations whose deletion is older than the retention time',
      everySeconds: 3600,
      run: (signal) => this.purge(signal),
    });
  }

  /** @throws {OrganizationNotFound} */
  async get(organizationId: string): Promise<Organization> {
    const organization = await this.repository.find(organizationId);
    if (organization === undefined) throw new OrganizationNotFound();
    return organization;
  }

  /** @throws {OrganizationNotFound} also for one that the caller does not belong to; operators may look */
  async getBySlug(slug: string, caller: Principal): Promise<OwnOrganization> {
    const found = await this.repository.findBySlug(slug, caller.userId);
    if (found === undefined || (found.role === null && !caller.operator)) throw new OrganizationNotFound();
    return found;
  }

  /** The organizations that somebody belongs to, newest first. */
  async listOfUser(userId: string, { limit, cursor }: { limit: number; cursor?: string }): Promise<Page<OwnOrganization>> {
    const list = ['organizations', userId];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.repository.listOfUser(userId, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ createdAt, id }) => [createdAt.toISOString(), id] });
  }

  /**
   * Makes an organization with the caller as its admin. Without a slug it gets one from its name.
   *
   * @throws {SlugTaken} @throws {SlugReserved} for a slug that was asked for
   */
  async create(
    { userId, actor }: Principal,
    { name, slug: wanted, imageUrl }: OrganizationProfile,
    db: Queryable,
  ): Promise<OwnOrganization> {
    const slug = wanted === undefined ? await this.slugFrom(name, db) : await this.requireFree(normalised(wanted), db);
    const organization = await this.writeSlug(slug, () =>
      this.repository.insert({ id: newId(), name, slug, imageUrl: imageUrl ?? null }, db),
    );
    await this.memberships.add({ organizationId: organization.id, userId, role: 'admin' }, db);
    await this.record('organization.created', organization, actor, { after: profileOf(organization) }, db);
    return { ...organization, role: 'admin' };
  }

  /** @throws {SlugTaken} @throws {SlugReserved} @throws {ManagedByClerk} */
  async change(organizationId: string, { slug: wanted, ...changes }: Partial<OrganizationProfile>, actor: Actor): Promise<Organization> {
    return this.db.transaction(async (tx) => {
      const before = await this.lockLocal(organizationId, tx);
      const slug = wanted === undefined ? before.slug : normalised(wanted);
      if (slug !== null && slug !== before.slug) await this.requireFree(slug, tx);
      const after = await this.writeSlug(slug, () => this.repository.update(organizationId, { ...changes, slug }, tx));
      await this.record('organization.updated', after, actor, { before: profileOf(before), after: profileOf(after) }, tx);
      return after;
    });
  }

  /** Deletes softly: nobody but an operator sees it any more, its keys fail at once, its slug is free. @throws {ManagedByClerk} */
  async delete(organizationId: string, actor: Actor): Promise<void> {
    await this.db.transaction(async (tx) => {
      const before = await this.lockLocal(organizationId, tx);
      await this.repository.update(organizationId, { deletedAt: new Date() }, tx);
      await this.record('organization.deleted', before, actor, { before: profileOf(before) }, tx);
    });
  }

  /**
   * Undoes a deletion, until the purge. A slug that somebody has taken meanwhile is replaced by a free one.
   *
   * @throws {OrganizationNotFound} for one that was never there or has been purged
   */
  async restore(organizationId: string, actor: Actor): Promise<Organization> {
    return this.db.transaction(async (tx) => {
      const before = await this.repository.lock(organizationId, tx);
      if (before === undefined) throw new OrganizationNotFound();
      if (before.deletedAt === null) return before;
      if (before.clerkOrganizationId !== null) throw new ManagedByClerk();
      const slug = before.slug === null ? null : await this.freeOf([before.slug, ...alternatives(before.slug)], tx);
      const after = await this.repository.update(organizationId, { deletedAt: null, slug }, tx);
      await this.record('organization.restored', after, actor, { before: profileOf(before), after: profileOf(after) }, tx);
      return after;
    });
  }

  private async lockLocal(organizationId: string, db: Queryable): Promise<Organization> {
    const organization = await this.repository.lock(organizationId, db);
    if (organization === undefined || organization.deletedAt !== null) throw new OrganizationNotFound();
    if (organization.clerkOrganizationId !== null) throw new ManagedByClerk();
    return organization;
  }

  private async slugFrom(name: string, db: Queryable): Promise<string> {
    const slug = normaliseSlug(name) ?? `organization-${randomSuffix()}`;
    return this.freeOf(isReservedSlug(slug) ? alternatives(slug) : [slug, ...alternatives(slug)], db);
  }

  private async requireFree(slug: string, db: Queryable): Promise<string> {
    if (isReservedSlug(slug)) throw new SlugReserved({ errors: await this.suggestion(slug, db) });
    if ((await this.repository.takenSlugs([slug], db)).size > 0) throw new SlugTaken({ errors: await this.suggestion(slug, db) });
    return slug;
  }

  /** The unique index has the last word: somebody may take the slug between the look and the write. */
  private async writeSlug<T>(slug: string | null, write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (error) {
      if (!isUniqueViolation(error, 'organizations_slug_key') || slug === null) throw error;
      throw new SlugTaken({ errors: await this.suggestion(slug, this.db) });
    }
  }

  private async suggestion(slug: string, db: Queryable) {
    const free = await this.freeOf(alternatives(slug), db);
    return [{ path: 'body.slug', message: `"${free}" is free` }];
  }

  private async freeOf(candidates: string[], db: Queryable): Promise<string> {
    const taken = await this.repository.takenSlugs(candidates, db);
    return candidates.find((slug) => !taken.has(slug)) ?? `organization-${randomSuffix()}`;
  }

  private async record(
    action: string,
    { id }: Organization,
    actor: Actor,
    change: { before?: object; after?: object },
    db: Queryable,
  ): Promise<void> {
    await this.audit.record({ actor, action, organizationId: id, target: { type: 'organization', id }, ...change }, db);
  }

  private async purge(signal: AbortSignal): Promise<number> {
    const before = new Date(Date.now() - this.config.purgeAfterDays * 86_400_000);
    const purgeSome = (limit: number) =>
      this.db.transaction(async (tx) => {
        const dead = await this.repository.lockDead(before, limit, tx);
        if (dead.length === 0) return 0;
        const organizationIds = dead.map(({ id }) => id);
        await this.memberships.rememberPurged({ organizationIds }, tx);
        await this.purgedIds.add(
          'clerk',
          'organization',
          dead.map(({ clerkOrganizationId }) => clerkOrganizationId),
          tx,
        );
        await this.repository.remove(organizationIds, tx);
        return dead.length;
      });
    return sweepInBatches(signal, purgeSome, 20);
  }
}

function normalised(slug: string): string {
  const usable = normaliseSlug(slug);
  if (usable === undefined)
    throw new InvalidRequest({ errors: [{ path: 'body.slug', message: 'slug must have at least two letters or digits' }] });
  return usable;
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

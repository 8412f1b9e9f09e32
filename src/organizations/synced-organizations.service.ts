import { isDeepStrictEqual } from 'node:util';
import { Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { AuditService, type RecordChange } from '../audit/audit.service.js';
import { type EventVersion, versionColumns } from '../sync/event-version.js';
import { newId } from '../platform/crypto/ids.js';
import { lockNames } from '../platform/database/locks.js';
import { PurgedIds } from '../sync/purged-ids.service.js';
import type { Queryable } from '../platform/database/database.js';
import { ConcurrencyConflict } from '../platform/database/database-errors.js';
import { SyncedMembershipsService } from '../memberships/synced-memberships.service.js';
import { SubscriptionOwners } from '../subscriptions/customers/subscription-owners.service.js';
import type { Organization, organizations } from './organizations.table.js';
import { isSlug } from './slugs.js';
import { SyncedOrganizationsRepository } from './synced-organizations.repository.js';
import { Clock } from '../platform/time/clock.service.js';

export interface OrganizationSnapshot {
  clerkOrganizationId: string;
  name: string;
  slug: string | null;
  imageUrl: string | null;
  createdAt: Date | null;
}

type NewOrganization = Omit<typeof organizations.$inferInsert, 'id' | 'clerkOrganizationId'> & { clerkOrganizationId: string };

const EMPTY_PROFILE = { name: '', slug: null, clerkSlug: null, imageUrl: null };

/** Organizations that Clerk manages. The rows follow the newest event, like those of `SyncedUsersService`. */
@Injectable()
export class SyncedOrganizationsService {
  private readonly record: RecordChange;

  constructor(
    private readonly repository: SyncedOrganizationsRepository,
    private readonly memberships: SyncedMembershipsService,
    private readonly subscriptions: SubscriptionOwners,
    audit: AuditService,
    private readonly clock: Clock,
    private readonly purgedIds: PurgedIds,
  ) {
    this.record = audit.recorder('organization');
  }

  /** For an organization that another event names. Blocks its deletion until the transaction ends. Returns undefined for a purged one. */
  async findOrCreateStub(embedded: OrganizationSnapshot, version: EventVersion, db: Queryable): Promise<Organization | undefined> {
    const known = await this.repository.lockIfKnown(embedded.clerkOrganizationId, db);
    if (known !== undefined) return known;
    await this.write(embedded, version, db);
    return this.repository.lockByClerkId(embedded.clerkOrganizationId, db);
  }

  async apply(snapshot: OrganizationSnapshot, version: EventVersion, actor: Actor, db: Queryable): Promise<void> {
    const { before, after } = (await this.write(snapshot, version, db)) ?? {};
    if (after === undefined) return;
    const change = { before: before && profileOf(before), after: profileOf(after) };
    if (isDeepStrictEqual(change.before, change.after)) return;
    await this.record(before === undefined ? 'organization.created' : 'organization.updated', after, { actor, ...change }, db);
  }

  /** Deletes for good, with the memberships. Also creates the tombstone of an unknown organization. Returns the id. */
  async applyDeletion(clerkOrganizationId: string, actor: Actor, db: Queryable): Promise<string | undefined> {
    const known = await this.repository.findByClerkId(clerkOrganizationId, db);
    await lockNames('slug', [known?.clerkSlug], db);
    const tombstone = { clerkOrganizationId, ...EMPTY_PROFILE, deletedAt: this.clock.now() };
    const row = await this.lockOrInsert(tombstone, known === undefined, db);
    if (row === undefined) return undefined;
    const { organization, isNew } = row;
    if (!isNew) {
      if (organization.deletedAt !== null) return organization.id;
      this.requireLock(organization, [known?.clerkSlug]);
      await this.repository.update(organization.id, { ...EMPTY_PROFILE, deletedAt: this.clock.now() }, db);
      await this.memberships.endAllOfOrganization(organization.id, db);
      await this.subscriptions.cancelFor({ id: organization.id, clerkId: clerkOrganizationId }, { cancel: true }, db);
      await this.resolveSlugOwners([organization.clerkSlug], db);
    }
    await this.record('organization.deleted', organization, { actor, before: profileOf(organization) }, db);
    return organization.id;
  }

  /** Tombstones included. */
  async findAll(clerkOrganizationIds: string[], db?: Queryable): Promise<Organization[]> {
    return this.repository.findAllByClerkId(clerkOrganizationIds, db);
  }

  async listClerkIds(page: { after: string; limit: number }): Promise<string[]> {
    return this.repository.listClerkIds(page);
  }

  async differences(row: Organization, snapshot: OrganizationSnapshot): Promise<string[]> {
    const { name, slug: clerkSlug, imageUrl } = snapshot;
    const expected = { name, clerkSlug, imageUrl };
    const fields = (Object.keys(expected) as (keyof typeof expected)[]).filter((field) => row[field] !== expected[field]);
    return (await this.hasWrongSlug(row)) ? [...fields, 'slug'] : fields;
  }

  /** Whether the organization lacks a slug that the claims give to it, or has one that they do not. */
  private async hasWrongSlug({ id, slug, clerkSlug }: Organization): Promise<boolean> {
    if (slug === clerkSlug) return false;
    if (clerkSlug === null || slug !== null) return true;
    const { winner } = await this.pickSlugOwner(clerkSlug);
    return winner?.id === id;
  }

  private async write(
    snapshot: OrganizationSnapshot,
    version: EventVersion,
    db: Queryable,
  ): Promise<{ before?: Organization; after?: Organization } | undefined> {
    const { clerkOrganizationId, slug } = snapshot;
    const { row: known, isNewer } = (await this.repository.findWithOrder(clerkOrganizationId, version, db)) ?? {};
    const fields = fieldsOf(snapshot);
    // The usual case: the slug does not change, so no other organization is affected.
    if (known !== undefined && isNewer === true && known.deletedAt === null && known.slug === slug && known.clerkSlug === slug) {
      const after = await this.repository.updateIfNewer(known.id, fields, version, db, { slug });
      // The slug must be locked before the row, so the transaction starts again.
      if (after === undefined) throw new ConcurrencyConflict();
      return { before: known, after };
    }
    await lockNames('slug', [known?.clerkSlug, slug], db);
    const [row, claimants] = await Promise.all([
      this.lockOrInsert({ clerkOrganizationId, ...fields, ...versionColumns(version) }, known === undefined, db),
      known === undefined && slug !== null && isSlug(slug) ? this.repository.listClaimants(slug, db) : undefined,
    ]);
    if (row === undefined) return undefined;
    this.requireLock(row.organization, [known?.clerkSlug, slug]);
    const before = row.isNew ? undefined : row.organization;
    // A lost slug is released at once, for other organizations that claim it.
    const released = before === undefined || before.slug === slug ? {} : { slug: null };
    const after = row.isNew
      ? row.organization
      : await this.repository.updateIfNewer(row.organization.id, { ...fields, ...released }, version, db);
    if (after !== undefined) await this.resolveSlugOwners([before?.clerkSlug, slug], db, row.isNew ? claimants : undefined);
    return { before, after };
  }

  /** Gives each slug to the newest claimant. A local organization keeps its slug. */
  private async resolveSlugOwners(slugs: (string | null | undefined)[], db: Queryable, claimants?: Organization[]): Promise<void> {
    for (const slug of new Set(slugs)) {
      if (slug == null) continue;
      const { loser, winner } = await this.pickSlugOwner(slug, db, claimants);
      if (loser !== undefined && !(await this.repository.updateIfSame(loser, { slug: null }, db))) {
        // The loser's claim was renewed meanwhile, which does not need the lock on an unchanged name.
        await this.resolveSlugOwners([slug], db);
        continue;
      }
      if (winner !== undefined) await this.repository.update(winner.id, { slug }, db);
    }
  }

  /** @throws {ConcurrencyConflict} if another event has changed the claim: its name must be locked before the row */
  private requireLock({ clerkSlug }: Organization, lockedSlugs: (string | null | undefined)[]): void {
    if (clerkSlug !== null && !lockedSlugs.includes(clerkSlug)) throw new ConcurrencyConflict();
  }

  /** Returns which organization must lose and which must get a slug, where it is not already with the right one. */
  private async pickSlugOwner(
    slug: string,
    db?: Queryable,
    known?: Organization[],
  ): Promise<{ loser?: Organization; winner?: Organization }> {
    if (!isSlug(slug)) return {};
    const claimants = known ?? (await this.repository.listClaimants(slug, db));
    const holder = claimants.find((one) => one.slug === slug);
    const winner = claimants.find((one) => one.clerkSlug === slug);
    return holder?.clerkOrganizationId === null || holder?.id === winner?.id ? {} : { loser: holder, winner };
  }

  private async lockOrInsert(
    organization: NewOrganization,
    isUnknown: boolean,
    db: Queryable,
  ): Promise<{ organization: Organization; isNew: boolean } | undefined> {
    const { clerkOrganizationId } = organization;
    const known = isUnknown ? undefined : await this.repository.lockByClerkId(clerkOrganizationId, db);
    if (known !== undefined) return { organization: known, isNew: false };
    // Checked after the insert, which waits for a running purge. All statements are sent together.
    const id = newId();
    const [inserted, isPurged, purchases] = await Promise.all([
      this.repository.insert({ id, ...organization }, db),
      this.purgedIds.has('clerk', 'organization', clerkOrganizationId, db),
      this.subscriptions.findPurchases({ kind: 'organization', id, clerkId: clerkOrganizationId }, db),
    ]);
    if (inserted === undefined) {
      // Another event of this organization came first, or a purge did.
      const other = await this.repository.lockByClerkId(clerkOrganizationId, db);
      return other && { organization: other, isNew: false };
    }
    if (isPurged) {
      await this.repository.remove(inserted.id, db);
      return undefined;
    }
    await this.subscriptions.claim(purchases, db);
    return { organization: inserted, isNew: true };
  }
}

function fieldsOf({ name, slug, imageUrl, createdAt }: OrganizationSnapshot) {
  return { name, clerkSlug: slug, imageUrl, ...(createdAt && { createdAt }) };
}

function profileOf({ name, clerkSlug: slug, imageUrl }: Organization): object {
  return { name, slug, imageUrl };
}

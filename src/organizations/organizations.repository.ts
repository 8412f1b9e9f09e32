import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, isNotNull, isNull, lt, sql } from 'drizzle-orm';
import { apiKeys } from '../api-keys/api-keys.table.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { isOneOf, removeSome } from '../platform/database/statements/lists.js';
import { invitations } from '../invitations/invitations.table.js';
import { memberships, type Role } from '../memberships/organization-memberships.table.js';
import { PurgedIds } from '../sync/purged-ids.service.js';
import { type Organization, organizations } from './organizations.table.js';

export interface OwnOrganization extends Organization {
  role: Role | null;
}

@Injectable()
export class OrganizationsRepository {
  private readonly byId;

  constructor(
    @Inject(DATABASE) private readonly db: Database,
    private readonly purgedIds: PurgedIds,
  ) {
    this.byId = db
      .select()
      .from(organizations)
      .where(and(eq(organizations.id, sql.placeholder('organizationId')), isNull(organizations.deletedAt)))
      .prepare('organizations_by_id');
  }

  async find(organizationId: string): Promise<Organization | undefined> {
    const [organization] = await this.byId.execute({ organizationId });
    return organization;
  }

  async findBySlug(slug: string, userId: string, db: Queryable = this.db): Promise<OwnOrganization | undefined> {
    const [found] = await db
      .select({ organization: organizations, role: memberships.role })
      .from(organizations)
      .leftJoin(
        memberships,
        and(eq(memberships.organizationId, organizations.id), eq(memberships.userId, userId), isNull(memberships.deletedAt)),
      )
      .where(and(eq(organizations.slug, slug), isNull(organizations.deletedAt)));
    return found && { ...found.organization, role: found.role };
  }

  async listOfUser(
    userId: string,
    { limit, after }: { limit: number; after?: { createdAt: string; id: string } },
    db: Queryable = this.db,
  ): Promise<OwnOrganization[]> {
    const rows = await db
      .select({ organization: organizations, role: memberships.role })
      .from(memberships)
      .innerJoin(organizations, eq(organizations.id, memberships.organizationId))
      .where(
        and(
          eq(memberships.userId, userId),
          isNull(memberships.deletedAt),
          isNull(organizations.deletedAt),
          after && sql`(${organizations.createdAt}, ${organizations.id}) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`,
        ),
      )
      .orderBy(desc(organizations.createdAt), desc(organizations.id))
      .limit(limit);
    return rows.map(({ organization, role }) => ({ ...organization, role }));
  }

  /** Returns undefined when a live organization has the slug, without aborting the transaction. */
  async insert(organization: typeof organizations.$inferInsert, db: Queryable): Promise<Organization | undefined> {
    const [inserted] = await db
      .insert(organizations)
      .values(organization)
      .onConflictDoNothing({ target: organizations.slug, where: sql`deleted_at IS NULL` })
      .returning();
    return inserted;
  }

  async lock(organizationId: string, db: Queryable): Promise<Organization | undefined> {
    const [organization] = await db.select().from(organizations).where(eq(organizations.id, organizationId)).for('no key update');
    return organization;
  }

  async update(organizationId: string, changes: Partial<typeof organizations.$inferInsert>, db: Queryable): Promise<Organization> {
    const [organization] = await db.update(organizations).set(changes).where(eq(organizations.id, organizationId)).returning();
    return organization!;
  }

  async takenSlugs(slugs: string[], db: Queryable = this.db): Promise<Set<string | null>> {
    const rows = await db
      .select({ slug: organizations.slug })
      .from(organizations)
      .where(and(isOneOf(organizations.slug, slugs), isNull(organizations.deletedAt)));
    return new Set(rows.map(({ slug }) => slug));
  }

  async lockPurgeable(deletedBefore: Date, limit: number, db: Queryable): Promise<Pick<Organization, 'id' | 'clerkOrganizationId'>[]> {
    return db
      .select({ id: organizations.id, clerkOrganizationId: organizations.clerkOrganizationId })
      .from(organizations)
      .where(and(isNotNull(organizations.deletedAt), lt(organizations.deletedAt, deletedBefore)))
      .orderBy(organizations.deletedAt)
      .limit(limit)
      .for('update', { skipLocked: true });
  }

  /** From here on they cannot be restored. */
  async markPurging(organizationIds: string[], db: Queryable): Promise<void> {
    await db
      .update(organizations)
      .set({ purgeStartedAt: sql`now()`, updatedAt: sql`${organizations.updatedAt}` })
      .where(and(isOneOf(organizations.id, organizationIds), isNull(organizations.purgeStartedAt)));
  }

  async purgeInvitations(organizationIds: string[], limit: number, db: Queryable): Promise<number> {
    const { id, clerkInvitationId: externalId } = invitations;
    const which = isOneOf(invitations.organizationId, organizationIds);
    return this.purgedIds.remove('clerk', { kind: 'invitation', id, externalId, which }, limit, db);
  }

  async removeApiKeys(organizationIds: string[], limit: number, db: Queryable): Promise<number> {
    return removeSome(apiKeys, isOneOf(apiKeys.organizationId, organizationIds), limit, db);
  }

  async remove(organizationIds: string[], db: Queryable): Promise<void> {
    await db.delete(organizations).where(isOneOf(organizations.id, organizationIds));
  }
}

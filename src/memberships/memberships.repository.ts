import { Inject, Injectable } from '@nestjs/common';
import { and, asc, desc, eq, getTableColumns, gt, isNull, ne, type SQL, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { isOneOf, rowsOfPeople } from '../platform/database/statements/lists.js';
import { type Scan, scanOf, MAX_MATCHES, MAX_SCANNED } from '../platform/pagination/searches.js';
import { organizations } from '../organizations/organizations.table.js';
import { users } from '../users/users.table.js';
import { PurgedIds } from '../sync/purged-ids.service.js';
import { type Membership, memberships, type Role } from './organization-memberships.table.js';

export interface Member extends Membership {
  user: { id: string; name: string; email: string | null; imageUrl: string | null };
}

export type MemberSort = 'joined' | 'name';

export interface MemberFilters {
  role?: Role;
}

export interface MemberPage {
  sort: MemberSort;
  limit: number;
  after?: [string, string];
  /** Only these memberships. */
  ids?: string[];
}

const MEMBER = {
  ...getTableColumns(memberships),
  user: { id: users.id, name: users.name, email: users.email, imageUrl: users.imageUrl },
};

@Injectable()
export class MembershipsRepository {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    private readonly purgedIds: PurgedIds,
  ) {}

  async list(organizationId: string, filters: MemberFilters, page: MemberPage, db: Queryable = this.db): Promise<Member[]> {
    return db
      .select(MEMBER)
      .from(memberships)
      .innerJoin(users, eq(users.id, memberships.userId))
      .where(isListedMember(organizationId, filters, page))
      .orderBy(...orderOf(page.sort))
      .limit(page.limit);
  }

  /** Those of the next `MAX_SCANNED` members that match. @param words for `to_tsquery` */
  async scanNext(
    organizationId: string,
    words: string,
    { filters, page }: { filters: MemberFilters; page: MemberPage },
    db: Queryable = this.db,
  ): Promise<Scan<Member>> {
    const order = orderOf(page.sort);
    const number = sql`row_number() OVER (ORDER BY ${sql.join(order, sql`, `)})`.mapWith(Number).as('number');
    const next = db
      .select({ ...getTableColumns(memberships), number })
      .from(memberships)
      .where(isListedMember(organizationId, filters, page))
      .orderBy(...order)
      .limit(MAX_SCANNED)
      .as('next');
    const isMatch = sql<boolean>`${next.userWords} @@ query_in_organization(${organizationId}, to_tsquery('simple', ${words}))`;
    const rows = await db
      .select({ ...next._.selectedFields, user: MEMBER.user, isMatch })
      .from(next)
      .innerJoin(users, eq(users.id, next.userId))
      .where(sql`${isMatch} OR ${next.number} = ${MAX_SCANNED}`)
      .orderBy(next.number)
      .limit(page.limit);
    return scanOf(rows);
  }

  /** Members with these words in their name, username or email, in no order. @param words for `to_tsquery` */
  async findMatching(organizationId: string, words: string, db: Queryable = this.db): Promise<string[]> {
    const { rows } = await db.execute<{ id: string }>(
      sql`SELECT id FROM matching_members(${organizationId}, ${words}, ${MAX_MATCHES + 1}) AS found (id)`,
    );
    return rows.map(({ id }) => id);
  }

  async find(organizationId: string, membershipId: string, db: Queryable = this.db): Promise<Member | undefined> {
    const [member] = await db
      .select(MEMBER)
      .from(memberships)
      .innerJoin(users, eq(users.id, memberships.userId))
      .where(and(eq(memberships.organizationId, organizationId), eq(memberships.id, membershipId), isNull(memberships.deletedAt)));
    return member;
  }

  /** Returns undefined when the user is already a member. */
  async insert(membership: typeof memberships.$inferInsert, db: Queryable): Promise<Membership | undefined> {
    const [inserted] = await db
      .insert(memberships)
      .values(membership)
      .onConflictDoNothing({ target: [memberships.organizationId, memberships.userId], where: sql`deleted_at IS NULL` })
      .returning();
    return inserted;
  }

  async updateRole(membershipId: string, role: Role, db: Queryable): Promise<Membership> {
    const [updated] = await db.update(memberships).set({ role }).where(eq(memberships.id, membershipId)).returning();
    return updated!;
  }

  async updateUser(membershipIds: string[], userId: string, db: Queryable): Promise<void> {
    await db.update(memberships).set({ userId }).where(isOneOf(memberships.id, membershipIds));
  }

  async end(membershipIds: string[], db: Queryable): Promise<void> {
    if (membershipIds.length === 0) return;
    await db
      .update(memberships)
      .set({ deletedAt: sql`now()` })
      .where(isOneOf(memberships.id, membershipIds));
  }

  async endOfUser(userId: string, organizationIds: string[], db: Queryable): Promise<void> {
    await db
      .update(memberships)
      .set({ deletedAt: sql`now()` })
      .where(and(eq(memberships.userId, userId), isOneOf(memberships.organizationId, organizationIds), isNull(memberships.deletedAt)));
  }

  /** Ends the memberships of these people that Clerk does not manage, and returns them. */
  async endLocal(people: { organizationId: string; userId: string }[], db: Queryable): Promise<Membership[]> {
    return db
      .update(memberships)
      .set({ deletedAt: sql`now()` })
      .where(
        and(
          sql`(${memberships.organizationId}, ${memberships.userId}) IN (SELECT * FROM ${rowsOfPeople(people)})`,
          isNull(memberships.deletedAt),
          isNull(memberships.clerkMembershipId),
        ),
      )
      .returning();
  }

  /** Of those organizations that are local and have members but no admin. Returns the new admins. */
  async promoteOldest(organizationIds: string[], db: Queryable): Promise<Membership[]> {
    const isLive = sql`organization_id = organization.id AND deleted_at IS NULL`;
    const oldest = sql`
      SELECT oldest.id FROM ${organizations} organization
       CROSS JOIN LATERAL (SELECT id FROM ${memberships} WHERE ${isLive} ORDER BY created_at, id LIMIT 1) oldest
       WHERE organization.id = ANY (${sql.param(organizationIds)}::uuid[])
         AND organization.clerk_organization_id IS NULL AND organization.deleted_at IS NULL
         AND NOT EXISTS (SELECT FROM ${memberships} WHERE ${isLive} AND role = 'admin')`;
    return db
      .update(memberships)
      .set({ role: 'admin' })
      .where(sql`${memberships.id} IN (${oldest})`)
      .returning();
  }

  /** Every change of admins takes this lock before it counts them. Returns undefined for a deleted organization. */
  async lockOrganization(organizationId: string, db: Queryable): Promise<{ clerkOrganizationId: string | null } | undefined> {
    const [organization] = await db
      .select({ clerkOrganizationId: organizations.clerkOrganizationId })
      .from(organizations)
      .where(and(eq(organizations.id, organizationId), isNull(organizations.deletedAt)))
      .for('no key update');
    return organization;
  }

  /** The first ones in id order, to avoid deadlocks. Deleted ones too: one that is being restored must not end without an admin. */
  async lockOrganizationsOfUser(userId: string, { limit, after }: { limit: number; after?: string }, db: Queryable): Promise<string[]> {
    const ofUser = db
      .select({ id: memberships.organizationId })
      .from(memberships)
      .where(
        and(
          eq(memberships.userId, userId),
          isNull(memberships.deletedAt),
          after === undefined ? undefined : gt(memberships.organizationId, after),
        ),
      )
      .orderBy(memberships.organizationId)
      .limit(limit);
    const locked = await db
      .select({ id: organizations.id })
      .from(organizations)
      .where(sql`${organizations.id} IN (${ofUser})`)
      .orderBy(organizations.id)
      .for('no key update');
    return locked.map(({ id }) => id);
  }

  /** A deleted, suspended or banned user. Blocks other changes of them until the transaction ends. */
  async lockLostUser(userId: string, db: Queryable): Promise<{ isDeleted: boolean } | undefined> {
    const [user] = await db
      .select({ isDeleted: sql<boolean>`${users.deletedAt} IS NOT NULL` })
      .from(users)
      .where(and(eq(users.id, userId), sql`(${users.deletedAt} IS NOT NULL OR ${users.suspendedAt} IS NOT NULL OR ${users.banned})`))
      .for('share');
    return user;
  }

  async lockOrganizations(organizationIds: string[], db: Queryable): Promise<void> {
    if (organizationIds.length === 0) return;
    await db
      .select({ id: organizations.id })
      .from(organizations)
      .where(isOneOf(organizations.id, organizationIds))
      .orderBy(organizations.id)
      .for('no key update');
  }

  /** Blocks the deletion of a user until the transaction ends. Returns false for a deleted user. */
  async lockUser(userId: string, db: Queryable): Promise<boolean> {
    const [user] = await db
      .select({ id: users.id })
      .from(users)
      .where(and(eq(users.id, userId), isNull(users.deletedAt)))
      .for('share');
    return user !== undefined;
  }

  async findOfPair(organizationId: string, userId: string, db: Queryable): Promise<Membership | undefined> {
    const [membership] = await db
      .select()
      .from(memberships)
      .where(and(eq(memberships.organizationId, organizationId), eq(memberships.userId, userId), isNull(memberships.deletedAt)));
    return membership;
  }

  async isMember(organizationId: string, userId: string, db: Queryable): Promise<boolean> {
    return (await this.findOfPair(organizationId, userId, db)) !== undefined;
  }

  async hasAdmin(organizationId: string, { except }: { except?: string }, db: Queryable): Promise<boolean> {
    const [admin] = await db
      .select({ id: memberships.id })
      .from(memberships)
      .where(
        and(
          eq(memberships.organizationId, organizationId),
          eq(memberships.role, 'admin'),
          isNull(memberships.deletedAt),
          except === undefined ? undefined : ne(memberships.id, except),
        ),
      )
      .limit(1);
    return admin !== undefined;
  }

  /** Whether a local organization has no other admin than this user. */
  async isLastAdmin(userId: string, db: Queryable): Promise<boolean> {
    const { rows } = await db.execute(sql`
      SELECT FROM ${memberships} own JOIN ${organizations} organization ON organization.id = own.organization_id
       WHERE own.user_id = ${userId} AND own.role = 'admin' AND own.deleted_at IS NULL
         AND organization.clerk_organization_id IS NULL AND organization.deleted_at IS NULL
         AND NOT EXISTS (SELECT FROM ${memberships} other WHERE other.organization_id = own.organization_id AND other.role = 'admin'
                                                            AND other.deleted_at IS NULL AND other.id <> own.id)
       LIMIT 1`);
    return rows.length > 0;
  }

  async hasMembers(organizationId: string, db: Queryable): Promise<boolean> {
    const [member] = await db
      .select({ id: memberships.id })
      .from(memberships)
      .where(and(eq(memberships.organizationId, organizationId), isNull(memberships.deletedAt)))
      .limit(1);
    return member !== undefined;
  }

  async listOfUser(userId: string, db: Queryable = this.db): Promise<Membership[]> {
    return db
      .select()
      .from(memberships)
      .where(and(eq(memberships.userId, userId), isNull(memberships.deletedAt)))
      .orderBy(desc(memberships.createdAt));
  }

  /** Memberships that Clerk does not manage. Those given by id may have ended. */
  async listLocal(which: { ofUser: string } | { ids: string[] }, db: Queryable): Promise<Membership[]> {
    return db
      .select()
      .from(memberships)
      .where(
        and(
          'ids' in which ? isOneOf(memberships.id, which.ids) : and(eq(memberships.userId, which.ofUser), isNull(memberships.deletedAt)),
          isNull(memberships.clerkMembershipId),
        ),
      );
  }

  async purge(by: { userIds: string[] } | { organizationIds: string[] }, limit: number, db: Queryable): Promise<number> {
    const which = 'userIds' in by ? isOneOf(memberships.userId, by.userIds) : isOneOf(memberships.organizationId, by.organizationIds);
    const { id, clerkMembershipId: externalId } = memberships;
    return this.purgedIds.remove('clerk', { kind: 'membership', id, externalId, which }, limit, db);
  }
}

const orderOf = (sort: MemberSort) => [asc(sort === 'name' ? memberships.userName : memberships.createdAt), asc(memberships.id)];

function isListedMember(organizationId: string, { role }: MemberFilters, { sort, after, ids }: MemberPage): SQL | undefined {
  const [sortColumn, cast] = sort === 'name' ? [memberships.userName, sql`text`] : [memberships.createdAt, sql`timestamptz`];
  return and(
    eq(memberships.organizationId, organizationId),
    isNull(memberships.deletedAt),
    role === undefined ? undefined : eq(memberships.role, role),
    ids && isOneOf(memberships.id, ids),
    after && sql`(${sortColumn}, ${memberships.id}) > (${after[0]}::${cast}, ${after[1]}::uuid)`,
  );
}

import { Inject, Injectable } from '@nestjs/common';
import { and, asc, eq, gt, lte, sql } from 'drizzle-orm';
import { NIL } from 'uuid';
import { organizations } from '../organizations/organizations.table.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { memberships } from './organization-memberships.table.js';

export interface MemberCountDifference {
  organizationId: string;
  kept: number;
  counted: number;
}

export interface OrganizationRange {
  after: string;
  last: string;
}

const COUNTED = sql<number>`(SELECT count(*)::int FROM ${memberships} AS m WHERE m.organization_id = organizations.id AND m.deleted_at IS NULL)`;

@Injectable()
export class CountedMembershipsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async findNextRange(after: string = NIL, limit = 100): Promise<OrganizationRange | undefined> {
    const rows = await this.db
      .select({ id: organizations.id })
      .from(organizations)
      .where(gt(organizations.id, after))
      .orderBy(asc(organizations.id))
      .limit(limit);
    const last = rows.at(-1)?.id;
    return last === undefined ? undefined : { after, last };
  }

  /** In one snapshot, in which a membership and the count of it are always both visible. */
  async listDifferences({ after, last }: OrganizationRange): Promise<MemberCountDifference[]> {
    return this.db
      .select({ organizationId: organizations.id, kept: organizations.memberCount, counted: COUNTED })
      .from(organizations)
      .where(and(gt(organizations.id, after), lte(organizations.id, last), sql`${organizations.memberCount} <> ${COUNTED}`));
  }

  /** The caller has locked the organization: the count then sees every change of its members. */
  async recount(organizationId: string, db: Queryable): Promise<void> {
    await db
      .update(organizations)
      .set({ memberCount: COUNTED, updatedAt: sql`${organizations.updatedAt}` })
      .where(eq(organizations.id, organizationId));
  }
}

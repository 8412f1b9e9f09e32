import { isDeepStrictEqual } from 'node:util';
import { Injectable } from '@nestjs/common';
import type { z } from 'zod';
import { SYSTEM } from '../../access/principal.js';
import type { Membership } from '../../memberships/organization-memberships.table.js';
import { SyncedMembershipsService } from '../../memberships/synced-memberships.service.js';
import type { Organization } from '../../organizations/organizations.table.js';
import { SyncedOrganizationsService } from '../../organizations/synced-organizations.service.js';
import type { Queryable } from '../../platform/database/database.js';
import { type EventVersion, EventRank, versionOfRow } from '../../sync/event-version.js';
import { PurgedIds } from '../../sync/purged-ids.service.js';
import type { Comparison, Finding } from '../../sync/reconciliation.port.js';
import { SyncedUsersService } from '../../users/synced-users.service.js';
import type { User } from '../../users/users.table.js';
import { MalformedPayload } from '../../webhooks/webhook-provider.port.js';
import { parseObject } from '../fields.schema.js';
import { ClerkApi, type ClerkObject } from './clerk-api.client.js';
import { membershipObject, organizationObject, roleOf, userObject } from './clerk.schema.js';
import { type ClerkChange, ClerkSync, toOrganizationSnapshot, toUserSnapshot } from './clerk-sync.service.js';
import { Clock } from '../../platform/time/clock.service.js';

type ClerkRow = User | Organization | Membership;
type ClerkData = { id: string; updated_at: Date | null };

/** How one of Clerk's objects is read again, and how its row is removed if Clerk does not have it. */
interface RemoteObject<Row> {
  id: string;
  find(signal?: AbortSignal): Promise<ClerkObject | undefined>;
  remove(row: Row, db: Queryable): Promise<void>;
}

/** A kind of object that Clerk and we both have. */
export interface ComparedResource<Row extends ClerkRow, Data extends ClerkData> {
  name: 'user' | 'organization' | 'membership';
  schema: z.ZodType<Data>;
  findRows(clerkIds: string[], db?: Queryable): Promise<Row[]>;
  clerkIdOf(row: Row): string | null;
  comparisonOf(data: Data): Comparison;
  differences(row: Row, data: Data): Promise<string[]>;
  /** A deleted parent is a difference of its own. */
  isParentDeleted(data: Data): Promise<boolean>;
  write(change: ClerkChange, db: Queryable): Promise<void>;
}

const NEVER = '-infinity';
const BY_RECONCILIATION = { rank: EventRank.update, messageId: 'reconciliation', actor: SYSTEM };

/** Compares Clerk's objects with our rows, by the rules by which its events write them. */
@Injectable()
export class ClerkComparison {
  readonly users: ComparedResource<User, z.infer<typeof userObject>> = {
    name: 'user',
    schema: userObject,
    findRows: (ids, db) => this.syncedUsers.findAll(ids, db),
    clerkIdOf: ({ clerkUserId }) => clerkUserId,
    comparisonOf: ({ id }) => this.ofUser(id),
    differences: (row, data) => this.syncedUsers.differences(row, toUserSnapshot(data)),
    isParentDeleted: async () => false,
    write: (change, db) => this.sync.applyUser(change, db),
  };

  readonly organizations: ComparedResource<Organization, z.infer<typeof organizationObject>> = {
    name: 'organization',
    schema: organizationObject,
    findRows: (ids, db) => this.syncedOrganizations.findAll(ids, db),
    clerkIdOf: ({ clerkOrganizationId }) => clerkOrganizationId,
    comparisonOf: ({ id }) => this.ofOrganization(id),
    differences: (row, data) => this.syncedOrganizations.differences(row, toOrganizationSnapshot(data)),
    isParentDeleted: async () => false,
    write: (change, db) => this.sync.applyOrganization(change, db),
  };

  readonly memberships: ComparedResource<Membership, z.infer<typeof membershipObject>> = {
    name: 'membership',
    schema: membershipObject,
    findRows: (ids, db) => this.syncedMemberships.findAll(ids, db),
    clerkIdOf: ({ clerkMembershipId }) => clerkMembershipId,
    comparisonOf: ({ id, organization, public_user_data: person }) => this.ofMembership(id, organization.id, person.user_id),
    differences: async (row, { role: clerkRole }) => [
      ...(row.role === roleOf(clerkRole) ? [] : ['role']),
      ...(row.clerkRole === clerkRole ? [] : ['clerkRole']),
    ],
    isParentDeleted: ({ organization, public_user_data: person }) => this.isOneDeleted(organization.id, person.user_id),
    write: (change, db) => this.sync.applyMembership(change, db),
  };

  constructor(
    private readonly api: ClerkApi,
    private readonly sync: ClerkSync,
    private readonly syncedUsers: SyncedUsersService,
    private readonly syncedOrganizations: SyncedOrganizationsService,
    private readonly syncedMemberships: SyncedMembershipsService,
    private readonly clock: Clock,
    private readonly purgedIds: PurgedIds,
  ) {}

  ofUser(id: string): Comparison {
    return this.comparisonOf(this.users, {
      id,
      find: (signal) => this.api.findUser(id, signal),
      remove: (_row, db) => this.sync.applyUserDeletion(deletionOf({ id }), db),
    });
  }

  ofOrganization(id: string): Comparison {
    return this.comparisonOf(this.organizations, {
      id,
      find: (signal) => this.api.findOrganization(id, signal),
      remove: (_row, db) => this.sync.applyOrganizationDeletion(deletionOf({ id }), db),
    });
  }

  ofMembership(id: string, clerkOrganizationId: string, clerkUserId: string): Comparison {
    return this.comparisonOf(this.memberships, {
      id,
      find: (signal) => this.api.findMembership(clerkOrganizationId, clerkUserId, id, signal),
      remove: ({ clerkRole, createdAt }, db) => {
        // Clerk sends the whole object with a deletion too.
        const parents = { organization: { id: clerkOrganizationId }, public_user_data: { user_id: clerkUserId } };
        return this.sync.applyMembership(deletionOf({ id, role: clerkRole, created_at: createdAt.getTime(), ...parents }), db);
      },
    });
  }

  /** Compares a page of Clerk's list with our rows. Yields what seems to differ, to be read again. */
  async *candidates<Row extends ClerkRow, Data extends ClerkData>(
    resource: ComparedResource<Row, Data>,
    page: ClerkObject[],
  ): AsyncGenerator<Comparison, void> {
    const found = await resource.findRows(page.map(({ id }) => id));
    const rows = new Map(found.map((row) => [resource.clerkIdOf(row), row]));
    for (const object of page) {
      const row = rows.get(object.id);
      try {
        const data = parseObject(resource.schema, object);
        if ((await this.compare(resource, row, object)).length > 0) yield resource.comparisonOf(data);
      } catch (error) {
        if (!(error instanceof MalformedPayload)) throw error;
        if (row?.deletedAt !== null)
          yield async () => [{ kind: 'missing', resource: resource.name, id: object.id, details: [error.message] }];
      }
    }
  }

  private comparisonOf<Row extends ClerkRow, Data extends ClerkData>(
    resource: ComparedResource<Row, Data>,
    remote: RemoteObject<Row>,
  ): Comparison {
    return async (signal) => {
      const [row] = await resource.findRows([remote.id]);
      const object = await remote.find(signal);
      if (object !== undefined) return this.compare(resource, row, object);
      if (row?.deletedAt !== null) return [];
      return [{ kind: 'extra', resource: resource.name, id: remote.id, details: [], repair: (tx) => remote.remove(row, tx) }];
    };
  }

  private async compare<Row extends ClerkRow, Data extends ClerkData>(
    resource: ComparedResource<Row, Data>,
    row: Row | undefined,
    object: ClerkObject,
  ): Promise<Finding[]> {
    const data = parseObject(resource.schema, object);
    const finding = { resource: resource.name, id: object.id };
    if (row?.deletedAt !== null && (await resource.isParentDeleted(data))) return [];
    // A deletion is final, and Clerk never reuses an id.
    if (row === undefined ? await this.purgedIds.has('clerk', resource.name, object.id) : row.deletedAt !== null)
      return [{ ...finding, kind: 'stale', details: ['deleted here'] }];
    // A stub, which other objects have named, is as good as missing.
    const isKnown = row !== undefined && row.eventAt !== NEVER;
    const kind = isKnown ? 'stale' : 'missing';
    const details = isKnown ? await resource.differences(row, data) : [];
    if (isKnown && details.length === 0) return [];
    if (isKnown && data.updated_at !== null && data.updated_at < new Date(row.eventModifiedAt))
      return [{ ...finding, kind, details: [...details, "Clerk's answer is older than an event of it"] }];
    const change = { data: object, at: (data.updated_at ?? this.clock.now()).toISOString(), ...BY_RECONCILIATION };
    return [{ ...finding, kind, details, repair: (tx) => this.write(resource, change, row, tx) }];
  }

  /** Writes as an event would. If the row has a version as new, writes only if it is still the compared one. */
  private async write<Row extends ClerkRow, Data extends ClerkData>(
    resource: ComparedResource<Row, Data>,
    change: ClerkChange & { data: ClerkObject },
    compared: Row | undefined,
    db: Queryable,
  ): Promise<void> {
    await resource.write(change, db);
    if (compared === undefined) return;
    const expected: EventVersion = versionOfRow(compared);
    const [row] = await resource.findRows([change.data.id], db);
    if (row !== undefined && isDeepStrictEqual(versionOfRow(row), expected))
      await resource.write({ ...change, expectedVersion: expected }, db);
  }

  private async isOneDeleted(clerkOrganizationId: string, clerkUserId: string): Promise<boolean> {
    const [user] = await this.syncedUsers.findAll([clerkUserId]);
    const [organization] = await this.syncedOrganizations.findAll([clerkOrganizationId]);
    if (user?.deletedAt != null || organization?.deletedAt != null) return true;
    return (
      (user === undefined && (await this.purgedIds.has('clerk', 'user', clerkUserId))) ||
      (organization === undefined && (await this.purgedIds.has('clerk', 'organization', clerkOrganizationId)))
    );
  }
}

/** Older than any event, so that it ends the object and says nothing else about it. */
function deletionOf(data: object): ClerkChange {
  return { ...BY_RECONCILIATION, data, at: NEVER, rank: EventRank.delete };
}

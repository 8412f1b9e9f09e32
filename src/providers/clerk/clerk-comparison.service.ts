import { isDeepStrictEqual } from 'node:util';
import { Injectable } from '@nestjs/common';
import type { z } from 'zod';
import { SYSTEM } from '../../access/principal.js';
import { type EventVersion, EventRank, keyOfRow } from '../../sync/event-version.js';
import { PurgedIds } from '../../sync/purged-ids.service.js';
import type { Queryable } from '../../platform/database/database.js';
import type { Membership } from '../../memberships/organization-memberships.table.js';
import { SyncedMembershipsService } from '../../memberships/synced-memberships.service.js';
import type { Organization } from '../../organizations/organizations.table.js';
import { SyncedOrganizationsService } from '../../organizations/synced-organizations.service.js';
import { SyncedUsersService } from '../../users/synced-users.service.js';
import type { User } from '../../users/users.table.js';
import { parseObject } from '../fields.schema.js';
import { MalformedPayload } from '../../webhooks/webhook-provider.port.js';
import { ClerkApi, type ClerkObject } from './clerk-api.client.js';
import { membershipObject, organizationObject, roleOf, userObject } from './clerk.schema.js';
import { ClerkSync, toOrganizationSnapshot, type ClerkChange, toUserSnapshot } from './clerk-sync.service.js';

/** How the two sides differ about one thing. */
export interface Finding {
  /** Clerk has it and we do not; both have it, but not the same; we have it and Clerk does not. */
  kind: 'missing' | 'stale' | 'extra';
  /** What differs, and why nothing can be done about it. */
  what: string[];
  /** Absent where nothing can be done about it. */
  repair?: (db: Queryable) => Promise<void>;
}

/** Where Clerk keeps a thing. */
export interface RemoteRef {
  id: string;
}

export interface MembershipRef extends RemoteRef {
  clerkOrganizationId: string;
  clerkUserId: string;
}

/** A kind of thing: where both sides have it, and how one is brought in line with the other. */
export interface ComparedResource<At extends RemoteRef = RemoteRef, Told = unknown, Ours = unknown> {
  name: 'user' | 'organization' | 'membership';
  schema: z.ZodType<Told>;
  placeOf(theirs: Told): At;
  ours(ids: string[], db?: Queryable): Promise<Ours[]>;
  idOf(row: Ours): string | null;
  theirs(at: At, signal?: AbortSignal): Promise<ClerkObject | undefined>;
  differences(row: Ours, told: Told): Promise<string[]>;
  /** Whether it is not alive here for another thing's sake, which is told of by itself. */
  isDeletedHere(told: Told): Promise<boolean>;
  write(statement: ClerkChange, db: Queryable): Promise<void>;
  remove(row: Ours, at: At, db: Queryable): Promise<void>;
}

export type Row = User | Organization | Membership;
export type Dated = { id: string; updated_at: Date | null };

const NEVER = '-infinity';
const NAME = 'reconciliation';

/** Compares what Clerk's API shows with our rows, by the rules by which its events write them. */
@Injectable()
export class ClerkComparison {
  readonly users: ComparedResource<RemoteRef, z.infer<typeof userObject>, User> = {
    name: 'user',
    schema: userObject,
    placeOf: ({ id }) => ({ id }),
    ours: (ids, db) => this.syncedUsers.findAll(ids, db),
    idOf: ({ clerkUserId }) => clerkUserId,
    theirs: ({ id }, signal) => this.api.findUser(id, signal),
    differences: (row, told) => this.syncedUsers.differences(row, toUserSnapshot(told)),
    isDeletedHere: async () => false,
    write: (statement, db) => this.sync.applyUser(statement, db),
    remove: (_row, { id }, db) => this.sync.applyUserDeletion(deletionOf({ id }), db),
  };

  readonly organizations: ComparedResource<RemoteRef, z.infer<typeof organizationObject>, Organization> = {
    name: 'organization',
    schema: organizationObject,
    placeOf: ({ id }) => ({ id }),
    ours: (ids, db) => this.syncedOrganizations.findAll(ids, db),
    idOf: ({ clerkOrganizationId }) => clerkOrganizationId,
    theirs: ({ id }, signal) => this.api.findOrganization(id, signal),
    differences: (row, told) => this.syncedOrganizations.differences(row, toOrganizationSnapshot(told)),
    isDeletedHere: async () => false,
    write: (statement, db) => this.sync.applyOrganization(statement, db),
    remove: (_row, { id }, db) => this.sync.applyOrganizationDeletion(deletionOf({ id }), db),
  };

  readonly memberships: ComparedResource<MembershipRef, z.infer<typeof membershipObject>, Membership> = {
    name: 'membership',
    schema: membershipObject,
    placeOf: ({ id, applyOrganization, public_user_data: { user_id: clerkUserId } }) => ({
      id,
      clerkUserId,
      clerkOrganizationId: applyOrganization.id,
    }),
    ours: (ids, db) => this.syncedMemberships.findAll(ids, db),
    idOf: ({ clerkMembershipId }) => clerkMembershipId,
    theirs: ({ id, clerkOrganizationId, clerkUserId }, signal) => this.api.findMembership(clerkOrganizationId, clerkUserId, id, signal),
    differences: async (row, { role: clerkRole }) => {
      const told = { role: roleOf(clerkRole), clerkRole };
      return (Object.keys(told) as (keyof typeof told)[]).filter((field) => row[field] !== told[field]);
    },
    isDeletedHere: ({ applyOrganization, public_user_data: person }) => this.isParentDead(applyOrganization.id, person.user_id),
    write: (statement, db) => this.sync.applyMembership(statement, db),
    remove: ({ clerkRole, createdAt }, { id, clerkOrganizationId, clerkUserId }, db) => {
      // A whole one, as Clerk sends it; it says nothing but that this is gone.
      const organization = { id: clerkOrganizationId };
      const gone = { id, role: clerkRole, organization, public_user_data: { user_id: clerkUserId }, created_at: createdAt.getTime() };
      return this.sync.applyMembership(deletionOf(gone), db);
    },
  };

  constructor(
    private readonly api: ClerkApi,
    private readonly sync: ClerkSync,
    private readonly syncedUsers: SyncedUsersService,
    private readonly syncedOrganizations: SyncedOrganizationsService,
    private readonly syncedMemberships: SyncedMembershipsService,
    private readonly purgedIds: PurgedIds,
  ) {}

  /** Which of some things that Clerk shows do not seem to be the same here; and what of them cannot be read at all. */
  async suspects<At extends RemoteRef, Told extends Dated, R extends Row>(
    noun: ComparedResource<At, Told, R>,
    some: ClerkObject[],
  ): Promise<{ suspects: At[]; unreadable: { id: string; finding: Finding }[] }> {
    const rows = await noun.ours(some.map(({ id }) => id));
    const ours = new Map(rows.map((row) => [noun.idOf(row), row]));
    const found = { suspects: [] as At[], unreadable: [] as { id: string; finding: Finding }[] };
    for (const theirs of some) {
      const row = ours.get(theirs.id);
      try {
        if ((await this.compare(noun, theirs.id, theirs, row)) !== undefined)
          found.suspects.push(noun.placeOf(parseObject(noun.schema, theirs)));
      } catch (error) {
        if (!(error instanceof MalformedPayload)) throw error;
        if (row?.deletedAt !== null) found.unreadable.push({ id: theirs.id, finding: { kind: 'missing', what: [error.message] } });
      }
    }
    return found;
  }

  /**
   * Reads one thing on both sides, and says how they differ. Ours first: what Clerk shows is then no older than what
   * its events have written here.
   */
  async look<At extends RemoteRef, Told extends Dated, R extends Row>(
    noun: ComparedResource<At, Told, R>,
    at: At,
    signal?: AbortSignal,
  ): Promise<Finding | undefined> {
    const [row] = await noun.ours([at.id]);
    const theirs = await noun.theirs(at, signal);
    if (theirs !== undefined) return this.compare(noun, at.id, theirs, row);
    return row?.deletedAt === null ? { kind: 'extra', what: [], repair: (db) => noun.remove(row, at, db) } : undefined;
  }

  private async compare<At extends RemoteRef, Told extends Dated, R extends Row>(
    noun: ComparedResource<At, Told, R>,
    id: string,
    theirs: ClerkObject,
    row: R | undefined,
  ): Promise<Finding | undefined> {
    const told = parseObject(noun.schema, theirs);
    if (row?.deletedAt !== null && (await noun.isDeletedHere(told))) return undefined;
    // The dead stay dead, and Clerk uses no id twice: whoever is right, no event of it would bring it back either.
    if (row === undefined ? await this.purgedIds.has('clerk', noun.name, id) : row.deletedAt !== null)
      return { kind: 'stale', what: ['deleted here'] };
    // What only others have told of is as good as missing.
    const isKnown = row !== undefined && row.eventAt !== NEVER;
    const what = isKnown ? await noun.differences(row, told) : [];
    if (isKnown && what.length === 0) return undefined;
    const kind = isKnown ? 'stale' : 'missing';
    if (isKnown && told.updated_at !== null && told.updated_at < new Date(row.eventModifiedAt))
      return { kind, what: [...what, "Clerk's answer is older than an event of it"] };
    const statement = { data: theirs, at: (told.updated_at ?? new Date()).toISOString(), ...BY_RECONCILIATION };
    return { kind, what, repair: (db) => this.write(noun, id, statement, row && keyOfRow(row), db) };
  }

  /** Writes as an event would; if nothing is newer than what is wrong, over that. */
  private async write<At extends RemoteRef, Told, R extends Row>(
    noun: ComparedResource<At, Told, R>,
    id: string,
    statement: ClerkChange,
    compared: EventVersion | undefined,
    db: Queryable,
  ): Promise<void> {
    await noun.write(statement, db);
    const [row] = await noun.ours([id], db);
    if (row === undefined || !isDeepStrictEqual(keyOfRow(row), compared)) return;
    await noun.write({ ...statement, expectedVersion: compared }, db);
  }

  private async isParentDead(clerkOrganizationId: string, clerkUserId: string): Promise<boolean> {
    const [user] = await this.syncedUsers.findAll([clerkUserId]);
    const [organization] = await this.syncedOrganizations.findAll([clerkOrganizationId]);
    if (user?.deletedAt != null || organization?.deletedAt != null) return true;
    return (
      (user === undefined && (await this.purgedIds.has('clerk', 'user', clerkUserId))) ||
      (organization === undefined && (await this.purgedIds.has('clerk', 'organization', clerkOrganizationId)))
    );
  }
}

const BY_RECONCILIATION = { rank: EventRank.update, messageId: NAME, actor: SYSTEM };

/** Older than any event: it ends a thing and says nothing else of it. */
function deletionOf(data: object): ClerkChange {
  return { ...BY_RECONCILIATION, data, at: NEVER, rank: EventRank.delete };
}

import { isDeepStrictEqual } from 'node:util';
import { Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { type EventVersion, versionColumns } from '../sync/event-version.js';
import { newId } from '../platform/crypto/ids.js';
import { lockNames } from '../platform/database/locks.js';
import { PurgedIds } from '../sync/purged-ids.service.js';
import type { Queryable } from '../platform/database/database.js';
import { ConcurrencyConflict } from '../platform/database/database-errors.js';
import { MembershipEnds } from '../memberships/membership-ends.service.js';
import { SubscriptionOwners } from '../subscriptions/customers/subscription-owners.service.js';
import { type LaterMerge, SyncedUsersRepository } from './synced-users.repository.js';
import { UserMerges } from './user-merges.service.js';
import type { User, users } from './users.table.js';
import { Clock } from '../platform/time/clock.service.js';

export interface UserSnapshot {
  clerkUserId: string;
  name: string;
  username: string | null;
  imageUrl: string | null;
  email: string | null;
  emailVerified: boolean;
  banned: boolean;
  createdAt: Date | null;
}

export type EmbeddedUser = Pick<UserSnapshot, 'clerkUserId' | 'name' | 'imageUrl'>;

const NEVER = '-infinity';

type SnapshotFields = Pick<User, 'name' | 'username' | 'imageUrl' | 'banned' | 'clerkEmail' | 'clerkEmailVerified'> & {
  clerkUserId: string;
  createdAt?: Date;
};

interface UserChange {
  before?: User;
  after: User;
}

interface EmailClaims {
  claimants: User[];
  later?: LaterMerge;
}

type NewUser = Omit<typeof users.$inferInsert, 'id' | 'clerkUserId'> & { clerkUserId: string };

const WITHOUT_EMAIL = { email: null, emailVerified: false, emailVerifiedAt: null };

const EMPTY_PROFILE = {
  ...WITHOUT_EMAIL,
  name: '',
  username: null,
  imageUrl: null,
  clerkEmail: null,
  clerkEmailVerified: false,
  banned: false,
};

/**
 * Users that Clerk manages. The rows end the same in whatever order and number events arrive: they follow the newest
 * event, deleted users stay deleted, and the claims of all rows decide who has an address (docs/decisions/0013).
 */
@Injectable()
export class SyncedUsersService {
  constructor(
    private readonly repository: SyncedUsersRepository,
    private readonly merges: UserMerges,
    private readonly membershipEnds: MembershipEnds,
    private readonly subscriptions: SubscriptionOwners,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    private readonly purgedIds: PurgedIds,
  ) {}

  async findOrCreateStubId(clerkUserId: string, db: Queryable): Promise<string | undefined> {
    const known = await this.repository.findByClerkId(clerkUserId, db);
    return known?.id ?? (await this.lockOrCreate(clerkUserId, db))?.id;
  }

  /** Tombstones included. Returns undefined for a purged user. */
  async lockOrCreate(clerkUserId: string, db: Queryable): Promise<User | undefined> {
    return (await this.lockOrInsert({ clerkUserId, name: '' }, db))?.user;
  }

  /** Like `lockOrCreate`, for a user that is embedded in another event. */
  async findOrCreateStub({ clerkUserId, name, imageUrl }: EmbeddedUser, version: EventVersion, db: Queryable): Promise<User | undefined> {
    const row = await this.lockOrInsert({ clerkUserId, name, imageUrl, ...versionColumns(version) }, db);
    if (row === undefined || row.isNew || row.user.eventAt !== NEVER) return row?.user;
    return (await this.repository.updateIfNewer(row.user.id, { name, imageUrl }, version, db)) ?? row.user;
  }

  async apply(snapshot: UserSnapshot, version: EventVersion, actor: Actor, db: Queryable): Promise<void> {
    const fields = { ...fieldsOf(snapshot), ...(snapshot.createdAt && { createdAt: snapshot.createdAt }) };
    const { row: known, isNewer } = (await this.repository.findWithOrder(snapshot.clerkUserId, version, db)) ?? {};
    const written =
      known !== undefined && isNewer === true && keepsEmail(known, fields)
        ? await this.writeSameEmail(known, fields, version, db)
        : await this.write(known, fields, version, actor, db);
    if (written === undefined) return;
    await this.recordChange(written, actor, db);
    const isNewlyBanned = written.after.banned && written.before?.banned !== true;
    if (isNewlyBanned) await this.membershipEnds.endInvitationsSentByUser(written.after.id, actor, db);
  }

  /** Deletes for good. Also creates the tombstone of an unknown user, so that a late event cannot create them. */
  async applyDeletion(clerkUserId: string, actor: Actor, db: Queryable): Promise<void> {
    const known = await this.repository.findByClerkId(clerkUserId, db);
    if (known?.deletedAt != null) return;
    await lockNames('email', [known?.clerkEmail], db);
    // The same lock order as password resets and changes: the user last.
    if (known !== undefined) await this.merges.endSignIns(known.id, db);
    const row = await this.lockOrInsert({ clerkUserId, ...EMPTY_PROFILE, deletedAt: this.clock.now() }, db);
    if (row === undefined || (!row.isNew && row.user.deletedAt !== null)) return;
    const { user, isNew } = row;
    if (!isNew) {
      this.requireLock(user, [known?.clerkEmail]);
      // A session may have been opened before the row was locked.
      await this.merges.endSignIns(user.id, db);
      await this.membershipEnds.endAllOfDeletedUser(user.id, actor, db);
      await this.subscriptions.cancelFor({ id: user.id, clerkId: clerkUserId }, { cancel: true }, db);
      await this.repository.update(user.id, { ...EMPTY_PROFILE, deletedAt: this.clock.now() }, db);
      if (user.clerkEmail !== null) await this.resolveEmailOwner(user.clerkEmail, db);
    }
    await this.audit.record({ actor, action: 'user.deleted', target: { type: 'user', id: user.id }, before: profileOf(user) }, db);
  }

  async findAll(clerkUserIds: string[], db?: Queryable): Promise<User[]> {
    return this.repository.findAllByClerkId(clerkUserIds, db);
  }

  async listClerkIds(page: { after: string; limit: number }): Promise<string[]> {
    return this.repository.listClerkIds(page);
  }

  async countLive(): Promise<number> {
    return this.repository.countLive();
  }

  async differences(row: User, snapshot: UserSnapshot): Promise<string[]> {
    const expected = fieldsOf(snapshot);
    const fields = (Object.keys(expected) as (keyof typeof expected)[]).filter((field) => row[field] !== expected[field]);
    return (await this.hasWrongEmail(row)) ? [...fields, 'email'] : fields;
  }

  /** Whether the user lacks an address that the claims give to them, or has one that they do not. */
  private async hasWrongEmail({ id, email, emailVerified, clerkEmail, clerkEmailVerified }: User): Promise<boolean> {
    if (email === clerkEmail && emailVerified === clerkEmailVerified) return false;
    if (clerkEmail === null || (email !== null && email !== clerkEmail)) return true;
    const { winner } = pickEmailOwner(clerkEmail, await this.repository.listClaimants(clerkEmail));
    return winner?.id === id;
  }

  /** @throws {ConcurrencyConflict} because the email must be locked before the row, so the transaction starts again */
  private async writeSameEmail(before: User, fields: SnapshotFields, version: EventVersion, db: Queryable): Promise<UserChange> {
    const after = await this.repository.updateIfNewer(before.id, fields, version, db, { email: fields.clerkEmail });
    if (after === undefined) throw new ConcurrencyConflict();
    return { before, after };
  }

  private async write(
    known: User | undefined,
    fields: SnapshotFields,
    version: EventVersion,
    actor: Actor,
    db: Queryable,
  ): Promise<UserChange | undefined> {
    const { clerkEmail: email, clerkEmailVerified: emailVerified } = fields;
    await lockNames('email', [known?.clerkEmail, email], db);
    const provenBy = emailVerified ? version : undefined;
    const [row, claims] = await Promise.all([
      this.lockOrInsert({ ...fields, ...versionColumns(version) }, db, known === undefined),
      // Sent behind the insert, so the claim of a new row is among them.
      known === undefined && email !== null ? this.readClaims(email, provenBy, db) : undefined,
    ]);
    if (row === undefined) return undefined;
    this.requireLock(row.user, [known?.clerkEmail, email]);
    const before = row.isNew ? undefined : row.user;
    // A lost address is released at once, for other users who claim it.
    const released = before?.email === email ? {} : WITHOUT_EMAIL;
    const after = row.isNew ? row.user : await this.repository.updateIfNewer(row.user.id, { ...fields, ...released }, version, db);
    // An outdated event still proves who had the address at its time.
    const proof = provenBy && { user: after ?? row.user, version: provenBy, actor };
    if (email !== null) await this.resolveEmailOwner(email, db, proof, row.isNew ? claims : undefined);
    if (before?.clerkEmail != null && before.clerkEmail !== email) await this.resolveEmailOwner(before.clerkEmail, db);
    return after && { before, after };
  }

  private async readClaims(email: string, provenBy: EventVersion | undefined, db: Queryable): Promise<EmailClaims> {
    const [claimants, later] = await Promise.all([
      this.repository.listClaimants(email, db),
      provenBy && this.repository.lockLaterMerge(email, provenBy, db),
    ]);
    return { claimants, later };
  }

  /** Gives an address to the user with the strongest claim; of several equal ones, the newest. */
  private async resolveEmailOwner(
    email: string,
    db: Queryable,
    proof?: { user: User; version: EventVersion; actor: Actor },
    claims?: EmailClaims,
  ): Promise<void> {
    const { later, ...read } = claims ?? (await this.readClaims(email, proof?.version, db));
    let { claimants } = read;
    const local = claimants.find((one) => one.clerkUserId === null);
    if (proof !== undefined && (await this.merges.releaseAddress({ email, local, later, ...proof }, db)))
      claimants = await this.repository.listClaimants(email, db);
    const { loser, winner } = pickEmailOwner(email, claimants);
    if (loser !== undefined && !(await this.repository.updateIfSame(loser, WITHOUT_EMAIL, db))) {
      // The loser's claim was renewed meanwhile, which does not need the lock on an unchanged name.
      await this.resolveEmailOwner(email, db);
      return;
    }
    if (winner === undefined) return;
    const emailVerifiedAt = winner.clerkEmailVerified ? this.clock.now() : null;
    await this.repository.update(winner.id, { email, emailVerified: winner.clerkEmailVerified, emailVerifiedAt }, db);
  }

  /** @throws {ConcurrencyConflict} if another event has changed the claim: its name must be locked before the row */
  private requireLock({ clerkEmail }: User, lockedEmails: (string | null | undefined)[]): void {
    if (clerkEmail !== null && !lockedEmails.includes(clerkEmail)) throw new ConcurrencyConflict();
  }

  private async lockOrInsert(user: NewUser, db: Queryable, isUnknown = false): Promise<{ user: User; isNew: boolean } | undefined> {
    const known = isUnknown ? undefined : await this.repository.lockByClerkId(user.clerkUserId, db);
    if (known !== undefined) return { user: known, isNew: false };
    const inserted = await this.insert(user, db);
    if (inserted !== undefined) return { user: inserted, isNew: true };
    const other = await this.repository.lockByClerkId(user.clerkUserId, db);
    return other && { user: other, isNew: false };
  }

  private async insert(user: NewUser, db: Queryable): Promise<User | undefined> {
    // Checked after the insert, which waits for a running purge. All statements are sent together.
    const id = newId();
    const [inserted, isPurged, purchases] = await Promise.all([
      this.repository.insert({ id, ...user }, db),
      this.purgedIds.has('clerk', 'user', user.clerkUserId, db),
      this.subscriptions.findPurchases({ kind: 'user', id, clerkId: user.clerkUserId }, db),
    ]);
    if (inserted !== undefined && isPurged) {
      await this.repository.remove(inserted.id, db);
      return undefined;
    }
    if (inserted !== undefined) await this.subscriptions.claim(purchases, db);
    return inserted;
  }

  private async recordChange({ before, after }: UserChange, actor: Actor, db: Queryable): Promise<void> {
    const change = { before: before && profileOf(before), after: profileOf(after) };
    // Clerk also sends an event for every sign-in and for metadata.
    if (isDeepStrictEqual(change.before, change.after)) return;
    const action = before === undefined ? 'user.created' : 'user.updated';
    await this.audit.record({ actor, action, target: { type: 'user', id: after.id }, ...change }, db);
  }
}

function fieldsOf({ clerkUserId, name, username, imageUrl, banned, email, emailVerified }: UserSnapshot) {
  return { clerkUserId, name, username, imageUrl, banned, clerkEmail: email, clerkEmailVerified: emailVerified };
}

/** The usual case: the address does not change, so no other user is affected. */
function keepsEmail({ email, clerkEmail, clerkEmailVerified, deletedAt }: User, fields: SnapshotFields): boolean {
  return (
    deletedAt === null &&
    email === fields.clerkEmail &&
    clerkEmail === fields.clerkEmail &&
    clerkEmailVerified === fields.clerkEmailVerified
  );
}

function pickEmailOwner(email: string, claimants: User[]): { loser?: User; winner?: User } {
  const holder = claimants.find((one) => one.email === email);
  // A local holder stays here: one that can be merged or lose the address has been handled before.
  if (holder?.clerkUserId === null) return {};
  const winner = claimants.find((one) => one.clerkEmail === email);
  const isDone = winner?.email === email && winner.emailVerified === winner.clerkEmailVerified;
  return { loser: holder?.id === winner?.id ? undefined : holder, winner: isDone ? undefined : winner };
}

function profileOf({ name, username, imageUrl, clerkEmail: email, clerkEmailVerified: emailVerified, banned }: User): object {
  return { name, username, imageUrl, email, emailVerified, banned };
}

import { isDeepStrictEqual } from 'node:util';
import { Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { type EventVersion, keyColumns } from '../sync/event-version.js';
import { newId } from '../platform/crypto/ids.js';
import { lockNames } from '../platform/database/locks.js';
import { PurgedIds } from '../sync/purged-ids.service.js';
import type { Queryable } from '../platform/database/database.js';
import { ConcurrencyConflict } from '../platform/database/database-errors.js';
import { MembershipsService } from '../memberships/memberships.service.js';
import { SubscriptionOwners } from '../subscriptions/customers/subscription-owners.service.js';
import { SyncedUsersRepository } from './synced-users.repository.js';
import { UserMerges } from './user-merges.service.js';
import type { User, users } from './users.table.js';
import { Clock } from '../platform/time/clock.service.js';

/** A user as the provider that owns them tells it. */
export interface UserSnapshot {
  clerkUserId: string;
  name: string;
  username: string | null;
  imageUrl: string | null;
  /** As `normaliseEmail` writes it. */
  email: string | null;
  emailVerified: boolean;
  banned: boolean;
  /** At the provider. */
  createdAt: Date | null;
}

/** What others tell of a user in passing. */
export type EmbeddedUser = Pick<UserSnapshot, 'clerkUserId' | 'name' | 'imageUrl'>;

const NEVER = '-infinity';

/** What a snapshot writes. */
type Snapshot = Pick<User, 'name' | 'username' | 'imageUrl' | 'banned' | 'clerkEmail' | 'clerkEmailVerified'> & {
  clerkUserId: string;
  createdAt?: Date;
};

interface Written {
  before?: User;
  after: User;
}

type NewUser = Omit<typeof users.$inferInsert, 'id' | 'clerkUserId'> & { clerkUserId: string };

const WITHOUT_EMAIL = { email: null, emailVerified: false, emailVerifiedAt: null };

const NOBODY = {
  ...WITHOUT_EMAIL,
  name: '',
  username: null,
  imageUrl: null,
  clerkEmail: null,
  clerkEmailVerified: false,
  banned: false,
};

/**
 * Users whom a provider owns. Whatever order its events come in, and however often, the rows end the same: they
 * follow the newest event, the dead stay dead, and whose an address is follows from what all rows claim
 * (docs/decisions/0013).
 */
@Injectable()
export class SyncedUsersService {
  constructor(
    private readonly repository: SyncedUsersRepository,
    private readonly merges: UserMerges,
    private readonly memberships: MembershipsService,
    private readonly subscriptions: SubscriptionOwners,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    private readonly purgedIds: PurgedIds,
  ) {}

  /** The id of a user, who is made if there is none; undefined for one who was purged. */
  async findOrCreateStubId(clerkUserId: string, db: Queryable): Promise<string | undefined> {
    const known = await this.repository.findByClerkId(clerkUserId, db);
    return known?.id ?? (await this.lockOrCreate(clerkUserId, db))?.id;
  }

  /** The row of a user, who is made if there is none, locked, tombstones included; undefined for one who was purged. */
  async lockOrCreate(clerkUserId: string, db: Queryable): Promise<User | undefined> {
    return (await this.lockOrInsert({ clerkUserId, name: '' }, db))?.user;
  }

  /** As `hold`, for a user of whom somebody else's event tells something. */
  async findOrCreateStub({ clerkUserId, name, imageUrl }: EmbeddedUser, key: EventVersion, db: Queryable): Promise<User | undefined> {
    const row = await this.lockOrInsert({ clerkUserId, name, imageUrl, ...keyColumns(key) }, db);
    if (row === undefined || row.isNew || row.user.eventAt !== NEVER) return row?.user;
    return (await this.repository.updateIfNewer(row.user.id, { name, imageUrl }, key, db)) ?? row.user;
  }

  /** Writes down what the provider says of a user, unless something newer is known. */
  async apply(snapshot: UserSnapshot, key: EventVersion, actor: Actor, db: Queryable): Promise<void> {
    const fields = { ...fieldsOf(snapshot), ...(snapshot.createdAt && { createdAt: snapshot.createdAt }) };
    const { user: known, isNewer } = (await this.repository.look(snapshot.clerkUserId, key, db)) ?? {};
    const written =
      known !== undefined && isNewer === true && hasSettled(known, fields)
        ? await this.writeSettled(known, fields, key, db)
        : await this.write(known, fields, key, actor, db);
    if (written === undefined) return;
    await this.recordChange(written, actor, db);
    const isShutOut = written.after.banned && written.before?.banned !== true;
    if (isShutOut) await this.memberships.endInvitationsOf(written.after.id, actor, db);
  }

  /** Deletes for good, as the provider did; also one who was never seen, so that nothing brings them to life. */
  async applyDeletion(clerkUserId: string, actor: Actor, db: Queryable): Promise<void> {
    const known = await this.repository.findByClerkId(clerkUserId, db);
    if (known?.deletedAt != null) return;
    await lockNames('email', [known?.clerkEmail], db);
    // In the order in which resets and changes of password take their locks, the user last.
    if (known !== undefined) await this.merges.endWaysIn(known.id, db);
    const row = await this.lockOrInsert({ clerkUserId, ...NOBODY, deletedAt: this.clock.now() }, db);
    if (row === undefined || (!row.isNew && row.user.deletedAt !== null)) return;
    const { user, isNew } = row;
    if (!isNew) {
      await this.holdClaimOf(user, [known?.clerkEmail], db);
      // One may have been opened before the row was locked.
      await this.merges.endWaysIn(user.id, db);
      await this.memberships.endAllOfDeletedUser(user.id, actor, db);
      await this.subscriptions.cancelFor({ id: user.id, clerkId: clerkUserId }, { cancel: true }, db);
      await this.repository.update(user.id, { ...NOBODY, deletedAt: this.clock.now() }, db);
      if (user.clerkEmail !== null) await this.settle(user.clerkEmail, db);
    }
    await this.audit.record({ actor, action: 'user.deleted', target: { type: 'user', id: user.id }, before: profileOf(user) }, db);
  }

  /** Those who are known of these, tombstones included. */
  async findAll(clerkUserIds: string[], db?: Queryable): Promise<User[]> {
    return this.repository.findAllByClerkId(clerkUserIds, db);
  }

  /** Clerk's ids of the living, a page at a time; those of the last minute are left out. */
  async listClerkIds(page: { after: string; limit: number }): Promise<string[]> {
    return this.repository.listClerkIds(page);
  }

  async countLiving(): Promise<number> {
    return this.repository.countLiving();
  }

  /** Which fields of a living row are not what the provider says, or would be another's turn. */
  async differences(row: User, snapshot: UserSnapshot): Promise<string[]> {
    const told = fieldsOf(snapshot);
    const fields = (Object.keys(told) as (keyof typeof told)[]).filter((field) => row[field] !== told[field]);
    return (await this.hasWrongEmail(row)) ? [...fields, 'email'] : fields;
  }

  /** Whether the address in effect is not the one that follows from what all claim. */
  private async hasWrongEmail({ id, email, emailVerified, clerkEmail, clerkEmailVerified }: User): Promise<boolean> {
    if (email === clerkEmail && emailVerified === clerkEmailVerified) return false;
    if (clerkEmail === null || (email !== null && email !== clerkEmail)) return true;
    const { winner } = decide(clerkEmail, await this.repository.contenders(clerkEmail));
    return winner?.id === id;
  }

  /** @throws {ConcurrencyConflict} Then the row is locked, and its names must not be asked for after it. */
  private async writeSettled(before: User, fields: Snapshot, key: EventVersion, db: Queryable): Promise<Written> {
    const after = await this.repository.updateIfNewer(before.id, fields, key, db, { email: fields.clerkEmail });
    if (after === undefined) throw new ConcurrencyConflict();
    return { before, after };
  }

  private async write(
    known: User | undefined,
    fields: Snapshot,
    key: EventVersion,
    actor: Actor,
    db: Queryable,
  ): Promise<Written | undefined> {
    const { clerkEmail: email, clerkEmailVerified: emailVerified } = fields;
    await lockNames('email', [known?.clerkEmail, email], db);
    const row = await this.lockOrInsert({ ...fields, ...keyColumns(key) }, db, known === undefined);
    if (row === undefined) return undefined;
    await this.holdClaimOf(row.user, [known?.clerkEmail, email], db);
    const before = row.isNew ? undefined : row.user;
    // An address that is theirs no longer goes at once, for whoever else claims it.
    const lost = before?.email === email ? {} : WITHOUT_EMAIL;
    const after = row.isNew ? row.user : await this.repository.updateIfNewer(row.user.id, { ...fields, ...lost }, key, db);
    // Old news proves an address as well: whose it was then is told by it, if not whose it is.
    if (email !== null) await this.settle(email, db, emailVerified ? { user: after ?? row.user, key, actor } : undefined);
    if (before?.clerkEmail != null && before.clerkEmail !== email) await this.settle(before.clerkEmail, db);
    return after && { before, after };
  }

  /**
   * Gives an address to whoever of those who claim it has it: of several the newest word counts.
   *
   * @param proof that somebody has, or had, proved it
   */
  private async settle(email: string, db: Queryable, proof?: { user: User; key: EventVersion; actor: Actor }): Promise<void> {
    let contenders = await this.repository.contenders(email, db);
    const local = contenders.find((one) => one.clerkUserId === null);
    if (proof !== undefined && (await this.merges.releaseAddress({ email, local, ...proof }, db)))
      contenders = await this.repository.contenders(email, db);
    const { loser, winner } = decide(email, contenders);
    if (loser !== undefined && !(await this.repository.updateIfSame(loser, WITHOUT_EMAIL, db))) {
      // Its own word was renewed meanwhile, which needs no hold of a name that stays.
      await this.settle(email, db);
      return;
    }
    if (winner === undefined) return;
    const emailVerifiedAt = winner.clerkEmailVerified ? this.clock.now() : null;
    await this.repository.update(winner.id, { email, emailVerified: winner.clerkEmailVerified, emailVerifiedAt }, db);
  }

  /** Another event of theirs may have been faster, and claimed something else. */
  private async holdClaimOf({ clerkEmail }: User, held: (string | null | undefined)[], db: Queryable): Promise<void> {
    if (!held.includes(clerkEmail)) await lockNames('email', [clerkEmail], db);
  }

  private async lockOrInsert(user: NewUser, db: Queryable, isUnknown = false): Promise<{ user: User; isNew: boolean } | undefined> {
    const known = isUnknown ? undefined : await this.repository.lockByClerkId(user.clerkUserId, db);
    if (known !== undefined) return { user: known, isNew: false };
    const inserted = await this.insert(user, db);
    if (inserted !== undefined) return { user: inserted, isNew: true };
    // Another event of theirs came first, or a purge did.
    const other = await this.repository.lockByClerkId(user.clerkUserId, db);
    return other && { user: other, isNew: false };
  }

  /** Undefined for one who is there, or was purged. */
  private async insert(user: NewUser, db: Queryable): Promise<User | undefined> {
    // Asked after the insert, which waits for a purge that is under way and must not outlive it; they travel together.
    const [inserted, isPurged] = await Promise.all([
      this.repository.insert({ id: newId(), ...user }, db),
      this.purgedIds.has('clerk', 'user', user.clerkUserId, db),
    ]);
    if (inserted !== undefined && isPurged) {
      await this.repository.remove(inserted.id, db);
      return undefined;
    }
    if (inserted !== undefined) await this.subscriptions.claimFor({ kind: 'user', id: inserted.id, clerkId: user.clerkUserId }, db);
    return inserted;
  }

  private async recordChange({ before, after }: Written, actor: Actor, db: Queryable): Promise<void> {
    const change = { before: before && profileOf(before), after: profileOf(after) };
    // Clerk tells of every sign-in and of metadata, too.
    if (isDeepStrictEqual(change.before, change.after)) return;
    const action = before === undefined ? 'user.created' : 'user.updated';
    await this.audit.record({ actor, action, target: { type: 'user', id: after.id }, ...change }, db);
  }
}

function fieldsOf({ clerkUserId, name, username, imageUrl, banned, email, emailVerified }: UserSnapshot) {
  return { clerkUserId, name, username, imageUrl, banned, clerkEmail: email, clerkEmailVerified: emailVerified };
}

/** Mostly the address stays, and nobody else is concerned. */
function hasSettled({ email, clerkEmail, clerkEmailVerified, deletedAt }: User, fields: Snapshot): boolean {
  return (
    deletedAt === null &&
    email === fields.clerkEmail &&
    clerkEmail === fields.clerkEmail &&
    clerkEmailVerified === fields.clerkEmailVerified
  );
}

/** Who has an address and must lose it, and who must get it; nobody where all is as it should be. */
function decide(email: string, contenders: User[]): { loser?: User; winner?: User } {
  const holder = contenders.find((one) => one.email === email);
  // What is local and proved, or claimed without proof, stays; what can be merged or taken is gone by now.
  if (holder?.clerkUserId === null) return {};
  const winner = contenders.find((one) => one.clerkEmail === email);
  const isRight = winner?.email === email && winner.emailVerified === winner.clerkEmailVerified;
  return { loser: holder?.id === winner?.id ? undefined : holder, winner: isRight ? undefined : winner };
}

function profileOf({ name, username, imageUrl, clerkEmail: email, clerkEmailVerified: emailVerified, banned }: User): object {
  return { name, username, imageUrl, email, emailVerified, banned };
}

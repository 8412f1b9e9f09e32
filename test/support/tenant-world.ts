import { randomBytes } from 'node:crypto';
import { drizzle } from 'drizzle-orm/node-postgres';
import { createApiKey } from '../../src/access/credentials/api-key-tokens.js';
import { hashSessionToken, signSessionToken } from '../../src/access/credentials/session-tokens.js';
import { accounts } from '../../src/accounts/accounts.table.js';
import { apiKeys } from '../../src/api-keys/api-keys.table.js';
import { declaredScopes, type Scope } from '../../src/access/scopes.js';
import { auditLog } from '../../src/audit/audit-log.table.js';
import { newId } from '../../src/platform/crypto/ids.js';
import { invitations } from '../../src/invitations/invitations.table.js';
import { jobRuns } from '../../src/jobs/job-runs.table.js';
import { memberships, type Role } from '../../src/memberships/organization-memberships.table.js';
import { organizations } from '../../src/organizations/organizations.table.js';
import { sessions } from '../../src/sessions/sessions.table.js';
import { users } from '../../src/users/users.table.js';
import { testEnvironment } from './app.js';
import type { TestDatabase } from './database.js';
import type { SignedInPerson } from './people.js';
import { type SeededRows, writeSeeds } from './seeds.js';

const HOUR = 3_600_000;
const { AUTH_SECRET } = testEnvironment('postgres://none/none') as { AUTH_SECRET: string };

export interface Person extends SignedInPerson {
  sessionId: string;
  /** Another session than the one of `auth`. */
  otherSessionId: string;
  /** Two sign-in methods, so that one can be unlinked. */
  accountId: string;
}

export interface Key {
  id: string;
  key: string;
  /** Header for a request. */
  auth: { 'x-api-key': string };
}

/** An organization with rows in every table, and users in every relation to it. */
export interface Tenant extends SeededRows {
  organization: { id: string; slug: string; name: string };
  isDeleted: boolean;
  admin: Person;
  /** A second admin, so that the first one is not the last. */
  coAdmin: Person;
  member: Person;
  /** A member for tests that remove one. */
  spare: Person;
  /** A former member with a live session. */
  left: Person;
  /** A suspended admin. */
  suspended: Person;
  /** A deleted admin with a session and a membership that were left behind. */
  deleted: Person;
  /** Has a pending invitation and a verified address. */
  invited: Person;
  /** Has the address of an invitation, unverified. */
  squatter: Person;
  memberships: { admin: string; coAdmin: string; member: string; spare: string; left: string };
  invitations: { pending: string; squatted: string; lapsed: string; revoked: string };
  /** The token in the mail of `pending`. */
  invitationToken: string;
  squattedToken: string;
  /** The address of an overdue invitation that no job has marked. */
  lapsedEmail: string;
  keys: { full: Key; bare: Key; revoked: Key; expired: Key };
  /** Headers of the admin that no longer work. */
  dead: { revoked: { authorization: string }; expired: { authorization: string }; ended: { authorization: string } };
  auditIds: string[];
}

/** Collects rows to write them together: a tenant in ten statements. */
class Rows {
  private readonly users: (typeof users.$inferInsert)[] = [];
  private readonly sessions: (typeof sessions.$inferInsert)[] = [];
  private readonly accounts: (typeof accounts.$inferInsert)[] = [];
  private readonly organizations: (typeof organizations.$inferInsert)[] = [];
  private readonly memberships: (typeof memberships.$inferInsert)[] = [];
  private readonly invitations: (typeof invitations.$inferInsert)[] = [];
  private readonly apiKeys: (typeof apiKeys.$inferInsert)[] = [];
  private readonly auditLog: (typeof auditLog.$inferInsert)[] = [];

  person(label: string, given: Partial<typeof users.$inferInsert> = {}): Person {
    const name = `${label}-${randomBytes(5).toString('hex')}`;
    const user = { id: newId(), name, email: `${name}@example.com`, emailVerified: true, ...given };
    this.users.push(user);
    const [accountId, otherAccountId] = [newId(), newId()];
    this.accounts.push(
      { id: accountId, userId: user.id, provider: 'google', providerAccountId: `google-${name}` },
      { id: otherAccountId, userId: user.id, provider: 'github', providerAccountId: `github-${name}` },
    );
    const session = this.session(user.id);
    const { id: otherSessionId } = this.session(user.id);
    return {
      id: user.id,
      name,
      email: `${name}@example.com`,
      token: session.token,
      cookie: `better-auth.session_token=${encodeURIComponent(session.token)}`,
      auth: { authorization: `Bearer ${session.token}` },
      sessionId: session.id,
      otherSessionId,
      accountId,
    };
  }

  session(userId: string, given: Partial<typeof sessions.$inferInsert> = {}): { id: string; token: string } {
    const raw = randomBytes(24).toString('base64url');
    const id = newId();
    this.sessions.push({ id, userId, tokenHash: hashSessionToken(raw), expiresAt: new Date(Date.now() + HOUR), ...given });
    return { id, token: signSessionToken(raw, AUTH_SECRET) };
  }

  organization(label: string, given: Partial<typeof organizations.$inferInsert>): Tenant['organization'] {
    const slug = `${label}-${randomBytes(5).toString('hex')}`;
    const organization = { id: newId(), slug, name: `The ${slug} company` };
    this.organizations.push({ ...organization, ...given });
    return organization;
  }

  membership(organizationId: string, userId: string, role: Role, given: Partial<typeof memberships.$inferInsert> = {}): string {
    const id = newId();
    this.memberships.push({ id, organizationId, userId, role, ...given });
    return id;
  }

  invitation(organizationId: string, email: string, given: Partial<typeof invitations.$inferInsert> = {}): { id: string; token: string } {
    const token = randomBytes(24).toString('base64url');
    const id = newId();
    const expiresAt = new Date(Date.now() + HOUR);
    // Invitation tokens are hashed like session tokens.
    this.invitations.push({ id, organizationId, email, role: 'member', tokenHash: hashSessionToken(token), expiresAt, ...given });
    return { id, token };
  }

  key(organizationId: string, createdBy: string, scopes: readonly Scope[], given: Partial<typeof apiKeys.$inferInsert> = {}): Key {
    const id = newId();
    const { key, prefix, hash } = createApiKey(false);
    this.apiKeys.push({
      id,
      organizationId,
      createdBy,
      name: `key-${randomBytes(5).toString('hex')}`,
      prefix,
      hash,
      scopes: [...scopes],
      ...given,
    });
    return { id, key, auth: { 'x-api-key': key } };
  }

  audit(organizationId: string, actorId: string): string {
    const id = newId();
    const target = { targetType: 'organization', targetId: organizationId };
    this.auditLog.push({ id, organizationId, actorKind: 'user', actorId, action: 'organization.created', ...target });
    return id;
  }

  async write(database: TestDatabase): Promise<void> {
    const db = drizzle(database.pool);
    if (this.users.length > 0) await db.insert(users).values(this.users);
    if (this.organizations.length > 0) await db.insert(organizations).values(this.organizations);
    await Promise.all([
      this.sessions.length > 0 && db.insert(sessions).values(this.sessions),
      this.accounts.length > 0 && db.insert(accounts).values(this.accounts),
      this.memberships.length > 0 && db.insert(memberships).values(this.memberships),
      this.invitations.length > 0 && db.insert(invitations).values(this.invitations),
      this.apiKeys.length > 0 && db.insert(apiKeys).values(this.apiKeys),
      this.auditLog.length > 0 && db.insert(auditLog).values(this.auditLog),
    ]);
  }
}

/** Writes a tenant directly into the database, because hundreds of sign-ups would take too long. */
export async function createTenant(db: TestDatabase, label = 'tenant', given: { deletedAt?: Date } = {}): Promise<Tenant> {
  const rows = new Rows();
  const organization = rows.organization(label, given);
  const people = {
    admin: rows.person('admin'),
    coAdmin: rows.person('co-admin'),
    member: rows.person('member'),
    spare: rows.person('spare'),
    left: rows.person('left'),
    suspended: rows.person('suspended', { suspendedAt: new Date() }),
    deleted: rows.person('deleted', { deletedAt: new Date(), email: null }),
    invited: rows.person('invited'),
    squatter: rows.person('squatter', { emailVerified: false }),
  };
  const { admin } = people;
  const role = (person: Person, of: Role, more = {}) => rows.membership(organization.id, person.id, of, more);
  role(people.suspended, 'admin');
  role(people.deleted, 'admin');
  const past = new Date(Date.now() - HOUR);
  const pending = rows.invitation(organization.id, people.invited.email, { invitedBy: admin.id });
  const squatted = rows.invitation(organization.id, people.squatter.email, { invitedBy: admin.id });
  const lapsedEmail = `lapsed-${randomBytes(5).toString('hex')}@example.com`;
  const key = (scopes: readonly Scope[], more = {}) => rows.key(organization.id, admin.id, scopes, more);
  const bearer = ({ token }: { token: string }) => ({ authorization: `Bearer ${token}` });
  const tenant = {
    isDeleted: given.deletedAt !== undefined,
    organization,
    ...people,
    memberships: {
      admin: role(people.admin, 'admin'),
      coAdmin: role(people.coAdmin, 'admin'),
      member: role(people.member, 'member'),
      spare: role(people.spare, 'member'),
      left: role(people.left, 'admin', { deletedAt: new Date() }),
    },
    invitations: {
      pending: pending.id,
      squatted: squatted.id,
      lapsed: rows.invitation(organization.id, lapsedEmail, { expiresAt: past }).id,
      revoked: rows.invitation(organization.id, people.invited.email, { status: 'revoked' }).id,
    },
    invitationToken: pending.token,
    squattedToken: squatted.token,
    lapsedEmail,
    keys: {
      full: key(declaredScopes()),
      bare: key([]),
      revoked: key(declaredScopes(), { revokedAt: past }),
      expired: key(declaredScopes(), { expiresAt: past }),
    },
    dead: {
      revoked: { authorization: `Bearer ${signSessionToken(randomBytes(24).toString('base64url'), AUTH_SECRET)}` },
      expired: bearer(rows.session(admin.id, { expiresAt: past })),
      ended: bearer(rows.session(admin.id, { endedAt: past })),
    },
    auditIds: [rows.audit(organization.id, admin.id), rows.audit(organization.id, people.member.id)],
  };
  await rows.write(db);
  return withSeeds(tenant, await writeSeeds(db, tenant));
}

function withSeeds(tenant: Omit<Tenant, keyof SeededRows>, seeded: SeededRows): Tenant {
  const { organization, memberships: memberIds, invitations: invitationIds, keys, lapsedEmail, invitationToken, squattedToken } = tenant;
  return {
    ...tenant,
    values: {
      ...seeded.values,
      invitationId: invitationIds.pending,
      apiKeyId: keys.full.id,
      lapsedEmail,
    },
    secrets: [
      ...Object.values(organization),
      ...Object.values(memberIds),
      ...Object.values(invitationIds),
      // Lists show the prefix of a key.
      ...Object.values(keys).flatMap(({ id, key }) => [id, key.slice(0, 15)]),
      lapsedEmail,
      invitationToken,
      squattedToken,
      ...tenant.auditIds,
      ...seeded.secrets,
    ],
  };
}

/** A user without an organization. */
export async function createPerson(db: TestDatabase, label = 'outsider', given: { operator?: boolean } = {}): Promise<Person> {
  const rows = new Rows();
  const person = rows.person(label, given);
  await rows.write(db);
  return person;
}

/** Adds a user to another organization. */
export async function addMember(db: TestDatabase, { organization }: Tenant, person: Person): Promise<void> {
  const rows = new Rows();
  rows.membership(organization.id, person.id, 'member');
  await rows.write(db);
}

/** A key of an organization with exactly these scopes. */
export async function createKey(db: TestDatabase, { organization, admin }: Tenant, scopes: readonly Scope[]): Promise<Key> {
  const rows = new Rows();
  const key = rows.key(organization.id, admin.id, scopes);
  await rows.write(db);
  return key;
}

/** Keeps jobs from running: a run of each counts as alive during the test. */
export async function holdJobs(db: TestDatabase, names: string[]): Promise<void> {
  const leasedUntil = new Date(Date.now() + 24 * HOUR);
  const held = names.map((job) => ({ id: newId(), job, tick: new Date(0), holder: newId(), leasedUntil }));
  await drizzle(db.pool).insert(jobRuns).values(held);
}

/** Records a daily job as done for today and tomorrow. */
export async function skipDailyJob(db: TestDatabase, job: string): Promise<void> {
  await skipJob(db, job, 86_400);
}

/** Records a job as done for this tick and the next. */
export async function skipJob(db: TestDatabase, job: string, everySeconds: number): Promise<void> {
  const turn = Math.floor(Date.now() / 1000 / everySeconds);
  const runs = [turn, turn + 1].map((one) => new Date(one * everySeconds * 1000));
  await drizzle(db.pool)
    .insert(jobRuns)
    .values(runs.map((tick) => ({ id: newId(), job, tick, holder: newId(), leasedUntil: new Date(), finishedAt: new Date() })))
    // The tick has already run.
    .onConflictDoNothing();
}

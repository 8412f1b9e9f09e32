import { SYSTEM } from '../../../src/access/principal.js';
import { type EventVersion, EventRank, versionOfRow } from '../../../src/sync/event-version.js';
import { loadConfig } from '../../../src/platform/config/config.js';
import { DATABASE, type Database } from '../../../src/platform/database/database.js';
import { createApp } from '../../../src/create-app.js';
import type { User } from '../../../src/users/users.table.js';
import { ClerkApi } from '../../../src/providers/clerk/clerk-api.client.js';
import { ClerkReconciliation } from '../../../src/providers/clerk/clerk-reconciliation.service.js';
import type { Difference, ReconciliationOptions } from '../../../src/sync/reconciliation.port.js';
import { ClerkSync } from '../../../src/providers/clerk/clerk-sync.service.js';
import { ClerkWebhooks } from '../../../src/providers/clerk/clerk-webhooks.service.js';
import { type ClerkApiSimulator, type ClerkMembership, type ClerkObject, startClerkApiSimulator } from '../../simulators/clerk-api.js';
import { startTestApp, testEnvironment } from '../../support/app.js';
import {
  CLERK_INSTANCE_ID,
  clerkEvent,
  deletedData,
  membershipData,
  newMessageId,
  organizationData,
  type UserData,
  userData,
} from '../../support/clerk/clerk-events.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { signUpOperator } from '../../support/people.js';
import { runJob } from '../../support/tenants.js';
import { skipJob } from '../../support/tenant-world.js';

const START = Date.UTC(2026, 0, 1);
const minute = (count: number) => START + count * 60_000;

const ADA: UserData = { id: 'user_ada', firstName: 'Ada', email: { email: 'ada@example.com', verified: true }, createdAt: START };
const BOB: UserData = { id: 'user_bob', firstName: 'Bob', email: { email: 'bob@example.com', verified: false }, createdAt: START };
const ACME = { id: 'org_acme', name: 'Acme', slug: 'acme', createdAt: START };
const MEMBER = { id: 'orgmem_ada', organization: ACME, user: ADA, role: 'org:admin', createdAt: START };

describe('reconciliation with Clerk', () => {
  let clerk: ClerkApiSimulator;
  let db: TestDatabase;
  let app: Awaited<ReturnType<typeof createApp>>;

  beforeEach(async () => {
    clerk = await startClerkApiSimulator({ instanceId: CLERK_INSTANCE_ID });
    db = await createTestDatabase();
    app = await open();
  });
  afterEach(async () => {
    await app.close();
    await clerk.close();
    await db.drop();
  });

  const environment = () => ({ CLERK_SECRET_KEY: clerk.secretKey, CLERK_API_URL: clerk.url, CLERK_INSTANCE_ID });

  /** Without workers, so that only the test reconciles. */
  const open = async (more: Record<string, string> = {}) => {
    const opened = await createApp(loadConfig({ ...testEnvironment(db.url), ...environment(), ...more }));
    Object.assign(opened.get(ClerkApi).limits, { pause: () => Promise.resolve() });
    return opened;
  };

  const atClerk = {
    user: (data: UserData) => clerk.users.set(data.id, userData(data) as ClerkObject),
    organization: (data: Parameters<typeof organizationData>[0]) => clerk.organizations.set(data.id, organizationData(data) as ClerkObject),
    membership: (data: Parameters<typeof membershipData>[0]) => clerk.memberships.set(data.id, membershipData(data) as ClerkMembership),
  };

  /** Applies an event, by default one second after the change that it reports. */
  const applyEvent = async (type: string, data: Record<string, unknown>, timestamp = Number(data['updated_at'] ?? minute(30)) + 1000) => {
    const event = { messageId: newMessageId(), type, eventAt: new Date(timestamp).toISOString(), actor: SYSTEM };
    const payload = clerkEvent(type, data, { timestamp });
    await app.get<Database>(DATABASE).transaction((tx) => app.get(ClerkWebhooks).apply({ ...event, payload }, tx));
  };

  const reconcile = async (options: ReconciliationOptions = {}, on = app) => {
    const differences: Difference[] = [];
    const { found, repaired } = await on.get(ClerkReconciliation).reconcile({ ...options, onDifference: (one) => differences.push(one) });
    expect([found, repaired]).toEqual([differences.length, differences.filter(({ isRepaired }) => isRepaired).length]);
    return differences.map(({ kind, resource, id, details, isRepaired }) =>
      [kind, resource, id, ...(details.length === 0 ? [] : [`(${details.join(', ')})`]), ...(isRepaired ? ['repaired'] : [])].join(' '),
    );
  };

  /** Everything that reconciliation may change. */
  const rows = async () => {
    const tables = await Promise.all(
      ['users', 'organizations', 'organization_memberships', 'user_merges', 'audit_log', 'purged_ids'].map((table) =>
        db.rows<{ row: unknown }>(`SELECT to_jsonb(t) AS row FROM ${table} t ORDER BY to_jsonb(t)::text`),
      ),
    );
    return tables.map((table) => table.map(({ row }) => row));
  };

  /** The part of our state that follows from Clerk's state. */
  const ours = async () => ({
    users: await db.rows(
      `SELECT clerk_user_id AS id, name, username, image_url, clerk_email, clerk_email_verified, email, email_verified, banned,
              deleted_at IS NOT NULL AS dead FROM users WHERE clerk_user_id IS NOT NULL ORDER BY 1`,
    ),
    organizations: await db.rows(
      `SELECT clerk_organization_id AS id, name, clerk_slug, slug, image_url, deleted_at IS NOT NULL AS dead
         FROM organizations WHERE clerk_organization_id IS NOT NULL ORDER BY 1`,
    ),
    memberships: await db.rows(
      `SELECT clerk_membership_id AS id, role, clerk_role, deleted_at IS NOT NULL AS dead
         FROM organization_memberships WHERE clerk_membership_id IS NOT NULL ORDER BY 1`,
    ),
  });

  /** A comparison without repair changes nothing, and a comparison after the repair finds nothing. */
  const expectRepaired = async (differences: string[]) => {
    const before = await rows();
    expect(await reconcile()).toEqual(differences);
    expect(await rows()).toEqual(before);
    expect(await reconcile({ fix: true })).toEqual(differences.map((one) => `${one} repaired`));
    expect(await reconcile()).toEqual([]);
    expect(await reconcile({ fix: true })).toEqual([]);
  };

  /** Two users, an organization and one membership, the same on both sides. */
  const createOnBothSides = async () => {
    atClerk.user(ADA);
    atClerk.user(BOB);
    atClerk.organization(ACME);
    atClerk.membership(MEMBER);
    await applyEvent('user.created', userData(ADA));
    await applyEvent('user.created', userData(BOB));
    await applyEvent('organization.created', organizationData(ACME));
    await applyEvent('organizationMembership.created', membershipData(MEMBER));
  };

  it('finds no difference between equal states, and ignores local rows', async () => {
    await createOnBothSides();
    await db.rows(`INSERT INTO users (id, name, email) VALUES (gen_random_uuid(), 'Local', 'local@example.com')`);
    await db.rows(`INSERT INTO organizations (id, name, slug) VALUES (gen_random_uuid(), 'Local', 'local')`);
    const before = await rows();
    expect(await reconcile()).toEqual([]);
    expect(await reconcile({ fix: true })).toEqual([]);
    expect(await rows()).toEqual(before);
  });

  describe('after a lost event', () => {
    beforeEach(createOnBothSides);

    type Lost = [event: string, atClerk: () => void, data: () => Record<string, unknown>, difference: string];
    const later = { updatedAt: minute(10) };
    const changed = { ...ADA, ...later, firstName: 'Augusta', username: 'ada', banned: true };
    const eve = { id: 'user_eve', firstName: 'Eve', email: { email: 'eve@example.com', verified: true }, createdAt: minute(5) };
    const umbrella = { id: 'org_umbrella', name: 'Umbrella', slug: 'umbrella', createdAt: minute(5) };
    const bobJoins = { id: 'orgmem_bob', organization: ACME, user: BOB, createdAt: minute(5) };
    const verified = { ...BOB, ...later, email: { email: 'bob@example.com', verified: true } };
    const moved = { ...BOB, ...later, email: { email: 'bobby@example.com', verified: true } };
    it.each<Lost>([
      ['user.created', () => atClerk.user(eve), () => userData(eve), 'missing user user_eve'],
      ['user.updated', () => atClerk.user(changed), () => userData(changed), 'stale user user_ada (name, username, banned)'],
      ['user.updated', () => atClerk.user(verified), () => userData(verified), 'stale user user_bob (clerkEmailVerified)'],
      ['user.updated', () => atClerk.user(moved), () => userData(moved), 'stale user user_bob (clerkEmail, clerkEmailVerified)'],
      ['user.deleted', () => clerk.users.delete('user_bob'), () => deletedData('user', 'user_bob'), 'extra user user_bob'],
      ['organization.created', () => atClerk.organization(umbrella), () => organizationData(umbrella), 'missing organization org_umbrella'],
      [
        'organization.updated',
        () => atClerk.organization({ ...ACME, ...later, name: 'Acme Ltd', slug: 'acme-ltd' }),
        () => organizationData({ ...ACME, ...later, name: 'Acme Ltd', slug: 'acme-ltd' }),
        'stale organization org_acme (name, clerkSlug)',
      ],
      [
        'organization.deleted',
        () => {
          clerk.organizations.delete('org_acme');
          clerk.memberships.delete('orgmem_ada');
        },
        () => deletedData('organization', 'org_acme'),
        'extra organization org_acme',
      ],
      [
        'organizationMembership.created',
        () => atClerk.membership(bobJoins),
        () => membershipData(bobJoins),
        'missing membership orgmem_bob',
      ],
      [
        'organizationMembership.updated',
        () => atClerk.membership({ ...MEMBER, ...later, role: 'org:billing' }),
        () => membershipData({ ...MEMBER, ...later, role: 'org:billing' }),
        'stale membership orgmem_ada (role, clerkRole)',
      ],
      [
        'organizationMembership.deleted',
        () => clerk.memberships.delete('orgmem_ada'),
        () => membershipData(MEMBER),
        'extra membership orgmem_ada',
      ],
    ])('%s: finds the difference, and repairs it as the event would have (%#)', async (type, happens, data, difference) => {
      happens();
      await expectRepaired([difference]);
      const repaired = await ours();
      // The lost event arrives late.
      await applyEvent(type, data());
      expect(await ours()).toEqual(repaired);
      expect(await reconcile()).toEqual([]);
    });

    it('ends the old membership of a user who left and joined again', async () => {
      clerk.memberships.delete('orgmem_ada');
      atClerk.membership({ ...MEMBER, id: 'orgmem_ada2', role: 'org:member', createdAt: minute(5) });
      expect(await reconcile()).toEqual(['missing membership orgmem_ada2', 'extra membership orgmem_ada']);
      // Creating the new membership ends the old one.
      expect(await reconcile({ fix: true })).toEqual(['missing membership orgmem_ada2 repaired']);
      expect(await reconcile()).toEqual([]);
      expect((await ours()).memberships).toMatchObject([
        { id: 'orgmem_ada', dead: true },
        { id: 'orgmem_ada2', dead: false, role: 'member' },
      ]);
    });

    it('gives an address and a slug to their new claimant when the old holder was deleted', async () => {
      const claimant = { id: 'user_heir', firstName: 'Heir', email: { email: 'ada@example.com', verified: false }, createdAt: minute(5) };
      clerk.users.delete('user_ada');
      clerk.memberships.clear();
      clerk.organizations.delete('org_acme');
      atClerk.user(claimant);
      atClerk.organization({ id: 'org_heir', name: 'Heir', slug: 'acme', createdAt: minute(5) });
      await expectRepaired([
        'extra user user_ada',
        'missing user user_heir',
        'extra organization org_acme',
        'missing organization org_heir',
      ]);
      expect((await ours()).users).toContainEqual(expect.objectContaining({ id: 'user_heir', email: 'ada@example.com' }));
      expect((await ours()).organizations).toContainEqual(expect.objectContaining({ id: 'org_heir', slug: 'acme' }));
    });

    it('records the system as the actor', async () => {
      atClerk.user(changed);
      clerk.users.delete('user_bob');
      await reconcile({ fix: true });
      const entries = await db.rows(
        `SELECT action, actor_kind, request_id FROM audit_log WHERE action IN ('user.updated', 'user.deleted') ORDER BY action`,
      );
      expect(entries).toEqual([
        { action: 'user.deleted', actor_kind: 'system', request_id: null },
        { action: 'user.updated', actor_kind: 'system', request_id: null },
      ]);
    });
  });

  it('completes stubs that other events created', async () => {
    for (const user of [ADA, BOB]) atClerk.user(user);
    atClerk.organization(ACME);
    atClerk.membership({ ...MEMBER, createdAt: minute(5) });
    // The membership is younger than the user and the organization.
    await applyEvent('organizationMembership.created', membershipData({ ...MEMBER, createdAt: minute(5) }));
    await db.rows(`INSERT INTO users (id, clerk_user_id, name) VALUES (gen_random_uuid(), 'user_bob', '')`);
    await expectRepaired(['missing user user_ada', 'missing user user_bob', 'missing organization org_acme']);
    expect((await ours()).users).toMatchObject([
      { id: 'user_ada', email: 'ada@example.com', email_verified: true },
      { id: 'user_bob', email: 'bob@example.com', email_verified: false },
    ]);
  });

  it('repairs rows that were changed by hand', async () => {
    await createOnBothSides();
    const before = await ours();
    const columns: Record<string, string> = { users: 'clerk_user_id', organizations: 'clerk_organization_id' };
    for (const [table, change, difference] of [
      ['users', `name = 'Mallory'`, 'stale user user_ada (name)'],
      ['users', `username = 'mallory'`, 'stale user user_ada (username)'],
      ['users', `image_url = NULL`, 'stale user user_ada (imageUrl)'],
      ['users', `banned = true`, 'stale user user_ada (banned)'],
      ['users', `email = NULL, email_verified = false`, 'stale user user_ada (email)'],
      ['users', `email_verified = false`, 'stale user user_ada (email)'],
      ['users', `email = 'mallory@example.com'`, 'stale user user_ada (email)'],
      ['users', `clerk_email = 'mallory@example.com'`, 'stale user user_ada (clerkEmail, email)'],
      ['users', `clerk_email = NULL, email = NULL`, 'stale user user_ada (clerkEmail)'],
      ['users', `clerk_email_verified = false`, 'stale user user_ada (clerkEmailVerified, email)'],
      ['users', `name = 'Mallory', event_at = '2030-01-01'`, 'stale user user_ada (name)'],
      ['organizations', `name = 'Evil'`, 'stale organization org_acme (name)'],
      ['organizations', `image_url = NULL`, 'stale organization org_acme (imageUrl)'],
      ['organizations', `slug = NULL`, 'stale organization org_acme (slug)'],
      ['organizations', `slug = 'evil'`, 'stale organization org_acme (slug)'],
      ['organizations', `clerk_slug = NULL, slug = NULL`, 'stale organization org_acme (clerkSlug)'],
      ['organization_memberships', `role = 'member'`, 'stale membership orgmem_ada (role)'],
      ['organization_memberships', `clerk_role = NULL`, 'stale membership orgmem_ada (clerkRole)'],
    ] as const) {
      const column = columns[table] ?? 'clerk_membership_id';
      const keys = () => db.rows(`SELECT event_at, event_modified_at, event_rank, event_id FROM ${table} ORDER BY ${column}`);
      await db.rows(`UPDATE ${table} SET ${change} WHERE ${column} LIKE '%\\_ada' OR ${column} = 'org_acme'`);
      const keysBefore = await keys();
      await expectRepaired([difference]);
      expect(await ours()).toEqual(before);
      // The event version stays, so that older events stay older.
      expect(await keys()).toEqual(keysBefore);
    }
  });

  it('reports an address or a slug that a local row holds as no difference', async () => {
    await createOnBothSides();
    await db.rows(`INSERT INTO organizations (id, name, slug) VALUES (gen_random_uuid(), 'Local', 'umbrella')`);
    await db.rows(
      `INSERT INTO users (id, name, email, email_verified, email_verified_at) VALUES (gen_random_uuid(), 'Local', 'cleo@example.com', true, now())`,
    );
    const cleo = { id: 'user_cleo', email: { email: 'cleo@example.com', verified: false }, createdAt: START };
    const umbrella = { id: 'org_umbrella', name: 'Umbrella', slug: 'umbrella', createdAt: START };
    const odd = { id: 'org_odd', name: 'Odd', slug: 'Not_a_slug', createdAt: START };
    atClerk.user(cleo);
    for (const organization of [umbrella, odd]) {
      atClerk.organization(organization);
      await applyEvent('organization.created', organizationData(organization));
    }
    await applyEvent('user.created', userData(cleo));
    expect((await ours()).users.at(-1)).toMatchObject({ id: 'user_cleo', clerk_email: 'cleo@example.com', email: null });
    expect(await reconcile()).toEqual([]);
    expect(await reconcile({ fix: true })).toEqual([]);
  });

  it('merges a local user and a Clerk user after the event of the Clerk user was lost', async () => {
    await createOnBothSides();
    const [local] = await db.rows<{ id: string }>(
      `INSERT INTO users (id, name, email, email_verified, email_verified_at)
       VALUES (gen_random_uuid(), 'Eve', 'eve@example.com', true, '2025-06-01') RETURNING id`,
    );
    await db.rows(
      `INSERT INTO sessions (id, user_id, token, expires_at) VALUES (gen_random_uuid(), $1, 'hash', now() + interval '1 hour')`,
      [local!.id],
    );
    atClerk.user({ id: 'user_eve', firstName: 'Eve', email: { email: 'eve@example.com', verified: true }, createdAt: minute(5) });
    await expectRepaired(['missing user user_eve']);
    const [merged] = await db.rows(
      `SELECT u.email, (SELECT count(*)::int FROM sessions WHERE user_id = u.id) AS sessions
         FROM user_merges m JOIN users u ON u.id = m.into_user_id WHERE m.id = $1`,
      [local!.id],
    );
    expect(merged).toEqual({ email: 'eve@example.com', sessions: 1 });
  });

  describe('an object that Clerk does not have', () => {
    beforeEach(createOnBothSides);

    it('is deleted here, also when it was only a stub', async () => {
      await db.rows(
        `INSERT INTO users (id, clerk_user_id, name, created_at) VALUES (gen_random_uuid(), 'user_gone', '', now() - interval '2 minutes')`,
      );
      await expectRepaired(['extra user user_gone']);
      expect((await ours()).users).toContainEqual(expect.objectContaining({ id: 'user_gone', dead: true }));
    });

    it('is ignored in its first minute, because Clerk may send an event before its API shows the object', async () => {
      await db.rows(`INSERT INTO users (id, clerk_user_id, name) VALUES (gen_random_uuid(), 'user_new', '')`);
      await db.rows(`INSERT INTO organizations (id, clerk_organization_id, name) VALUES (gen_random_uuid(), 'org_new', '')`);
      await db.rows(
        `INSERT INTO organization_memberships (id, clerk_membership_id, organization_id, user_id, role)
         SELECT gen_random_uuid(), 'orgmem_new', o.id, u.id, 'member' FROM organizations o, users u
          WHERE clerk_organization_id = 'org_acme' AND clerk_user_id = 'user_bob'`,
      );
      expect(await reconcile({ fix: true })).toEqual([]);
      await db.rows(
        `UPDATE organization_memberships SET created_at = now() - interval '2 minutes' WHERE clerk_membership_id = 'orgmem_new'`,
      );
      await db.rows(`UPDATE users SET created_at = now() - interval '2 minutes' WHERE clerk_user_id = 'user_new'`);
      expect(await reconcile({ fix: true })).toEqual(['extra user user_new repaired', 'extra membership orgmem_new repaired']);
    });

    it('is deleted only after Clerk confirms it for the single object', async () => {
      clerk.users.delete('user_bob');
      // The list is empty, as from a stale cache, but the single user exists.
      clerk.control.onCall = (call) => {
        if (call.includes('/v1/users?')) clerk.faults.push({ status: 200, body: '[]' });
        if (call.includes('/v1/users/user_bob')) clerk.faults.push({ status: 404, body: '<html>', contentType: 'text/html' });
      };
      await expect(reconcile({ fix: true })).rejects.toThrow('Clerk could not read a user: 404');
      expect((await ours()).users).toMatchObject([{ dead: false }, { dead: false }]);
    });
  });

  describe('an object that is deleted here', () => {
    it.each<[string, () => Promise<void>, string[]]>([
      ['a user', () => applyEvent('user.deleted', deletedData('user', 'user_ada')), ['stale user user_ada (deleted here)']],
      [
        'an organization',
        () => applyEvent('organization.deleted', deletedData('organization', 'org_acme')),
        ['stale organization org_acme (deleted here)'],
      ],
      [
        'a membership',
        () => applyEvent('organizationMembership.deleted', membershipData(MEMBER)),
        ['stale membership orgmem_ada (deleted here)'],
      ],
    ])('stays deleted and is reported while Clerk shows it: %s', async (_what, dies, differences) => {
      await createOnBothSides();
      await dies();
      const before = await rows();
      expect(await reconcile()).toEqual(differences);
      expect(await reconcile({ fix: true })).toEqual(differences);
      expect(await rows()).toEqual(before);
    });

    it('stays deleted when it was purged, with everything that belonged to it', async () => {
      for (const user of [ADA, BOB]) atClerk.user(user);
      atClerk.organization(ACME);
      atClerk.membership(MEMBER);
      atClerk.membership({ ...MEMBER, id: 'orgmem_bob', user: BOB });
      await db.rows(
        `INSERT INTO purged_ids (provider, kind, external_id) VALUES ('clerk', 'user', 'user_ada'), ('clerk', 'membership', 'orgmem_bob')`,
      );
      expect(await reconcile({ fix: true })).toEqual([
        'stale user user_ada (deleted here)',
        'missing user user_bob repaired',
        'missing organization org_acme repaired',
        'stale membership orgmem_bob (deleted here)',
      ]);
      expect(await ours()).toMatchObject({ users: [{ id: 'user_bob' }], organizations: [{ id: 'org_acme' }], memberships: [] });
    });
  });

  it('compares many objects page by page', async () => {
    app.get(ClerkApi).limits.pageSize = 150;
    const { image_url: image } = userData(ADA);
    await db.rows(
      `INSERT INTO users (id, clerk_user_id, name, image_url, created_at, event_at)
       SELECT gen_random_uuid(), 'user_' || n, n, $1, '2026-01-01', '2026-01-01' FROM generate_series(1, 230) n`,
      [image],
    );
    await db.rows(
      `INSERT INTO organizations (id, clerk_organization_id, name, image_url, created_at, event_at)
       SELECT gen_random_uuid(), 'org_' || n, n, $1, '2026-01-01', '2026-01-01' FROM generate_series(1, 230) n`,
      [image],
    );
    await db.rows(
      `INSERT INTO organization_memberships (id, clerk_membership_id, organization_id, user_id, role, clerk_role, created_at, event_at)
       SELECT gen_random_uuid(), 'orgmem_' || u.name, o.id, u.id, 'member', 'org:member', '2026-01-01', '2026-01-01'
         FROM users u, organizations o WHERE o.name = '1'`,
    );
    const large = { id: 'org_1', name: '1', createdAt: START };
    for (let one = 1; one <= 230; one += 1) {
      const user = { id: `user_${one}`, firstName: String(one), createdAt: START + one };
      atClerk.user(user);
      atClerk.organization({ id: `org_${one}`, name: String(one), createdAt: START + one });
      atClerk.membership({ id: `orgmem_${one}`, organization: large, user, createdAt: START + one });
    }
    expect(await reconcile()).toEqual([]);
    // One call for each organization, a few for each page, none for each user.
    expect(clerk.calls.length).toBeLessThan(230 + 20);
    const some = ['7', '77', '177', '227'];
    for (const one of some) {
      clerk.users.delete(`user_${one}`);
      clerk.organizations.delete(`org_${one}`);
      clerk.memberships.delete(`orgmem_${one}`);
      await db.rows('DELETE FROM organization_memberships WHERE clerk_membership_id = $1', [`orgmem_${Number(one) + 1}`]);
      await db.rows('DELETE FROM users WHERE clerk_user_id = $1', [`user_${Number(one) + 2}`]);
      await db.rows('DELETE FROM organizations WHERE clerk_organization_id = $1', [`org_${Number(one) + 3}`]);
    }
    const expected = some.flatMap((one) => [
      `extra user user_${one}`,
      `extra organization org_${one}`,
      `missing membership orgmem_${Number(one) + 1}`,
      `missing membership orgmem_${Number(one) + 2}`,
      `missing user user_${Number(one) + 2}`,
      `missing organization org_${Number(one) + 3}`,
    ]);
    const extra = some.map((one) => `extra membership orgmem_${one}`);
    expect((await reconcile()).toSorted()).toEqual([...expected, ...extra].toSorted());
    // Deleting a user ends the memberships too.
    expect((await reconcile({ fix: true })).toSorted()).toEqual(expected.map((one) => `${one} repaired`).toSorted());
    expect(await reconcile()).toEqual([]);
  });

  it('reads a member from Clerk when it is not in the cache', async () => {
    await createOnBothSides();
    await applyEvent('organizationMembership.created', membershipData({ ...MEMBER, id: 'orgmem_bob', user: BOB }));
    app.get(ClerkReconciliation).limits.remembered = 0;
    const requests = () => clerk.calls.filter((call) => call.includes('/memberships?user_id=user_ada&user_id=user_bob'));
    expect(await reconcile()).toEqual(['extra membership orgmem_bob']);
    expect(requests()).toHaveLength(1);
  });

  describe('while Clerk fails', () => {
    beforeEach(async () => {
      await createOnBothSides();
      atClerk.user({ ...ADA, firstName: 'Augusta', updatedAt: minute(10) });
      clerk.users.delete('user_bob');
    });

    it('waits for the rate limit', async () => {
      clerk.control.rateLimit = { requests: 3, seconds: 3600 };
      const pauses: number[] = [];
      Object.assign(app.get(ClerkApi).limits, {
        pause: async (ms: number) => {
          pauses.push(ms);
          clerk.control.rateLimit = { requests: 3, seconds: pauses.length === 1 ? 0 : 3600 };
        },
      });
      expect(await reconcile({ fix: true })).toEqual(['extra user user_bob repaired', 'stale user user_ada (name) repaired']);
      expect(pauses.length).toBeGreaterThan(0);
    });

    it('retries after failures', async () => {
      const failed = new Set<string>();
      clerk.control.onCall = (call) => {
        if (!failed.has(call)) clerk.faults.push({ status: 500 });
        failed.add(call);
      };
      expect(await reconcile({ fix: true })).toEqual(['extra user user_bob repaired', 'stale user user_ada (name) repaired']);
      expect(failed.size).toBeGreaterThan(6);
    });

    it('gives up after the retries, and keeps only confirmed repairs', async () => {
      clerk.control.onCall = (call) => {
        if (call.includes('order_by')) clerk.faults.push({ status: 503 });
      };
      await expect(reconcile({ fix: true })).rejects.toThrow('Clerk could not list users: 503');
      expect((await ours()).users).toMatchObject([
        { id: 'user_ada', name: 'Ada', dead: false },
        { id: 'user_bob', dead: true },
      ]);
    });

    it('stops when the signal aborts', async () => {
      const stopping = new AbortController();
      clerk.control.onCall = (call) => {
        if (call.includes('/v1/users/user_ada')) stopping.abort(new Error('enough'));
      };
      await expect(reconcile({ fix: true, signal: stopping.signal })).rejects.toThrow('enough');
      const calls = clerk.calls.length;
      expect((await ours()).users).toMatchObject([{ id: 'user_ada', name: 'Ada' }, { id: 'user_bob' }]);
      expect(clerk.calls).toHaveLength(calls);
    });
  });

  it('reports a membership without a user, and leaves it unchanged', async () => {
    await createOnBothSides();
    const { public_user_data: _, ...anonymous } = membershipData({ ...MEMBER, id: 'orgmem_nobody' }) as ClerkMembership;
    clerk.memberships.set('orgmem_nobody', anonymous);
    const difference = ['missing membership orgmem_nobody (Missing or invalid: public_user_data)'];
    expect(await reconcile({ fix: true })).toEqual(difference);
    // A membership that we have exists on both sides; nothing else can be compared.
    const { public_user_data: __, ...withoutUser } = membershipData(MEMBER) as ClerkMembership;
    clerk.memberships.set('orgmem_ada', withoutUser);
    expect(await reconcile({ fix: true })).toEqual(difference);
  });

  it('does not overwrite a newer event with an older API response', async () => {
    await createOnBothSides();
    await db.rows(`UPDATE users SET name = 'Mallory' WHERE clerk_user_id = 'user_ada'`);
    const newer = { ...ADA, firstName: 'Augusta', updatedAt: minute(10) };
    let reads = 0;
    clerk.control.onCall = async (call) => {
      if (call !== 'GET /v1/users/user_ada') return;
      reads += 1;
      // The event arrives between reading our row and Clerk's old response.
      if (reads === 1) await applyEvent('user.updated', userData(newer));
      else atClerk.user(newer);
    };
    expect(await reconcile({ fix: true })).toEqual(['stale user user_ada (name) repaired']);
    expect((await ours()).users).toMatchObject([{ id: 'user_ada', name: 'Augusta' }, {}]);
    expect(reads).toBe(2);
    const [{ writes }] = (await db.rows(
      `SELECT count(*)::int AS writes FROM audit_log WHERE action = 'user.updated' AND request_id IS NULL`,
    )) as [{ writes: number }];
    expect(writes).toBe(1);
  });

  it('overwrites a row only while it has the event version that was compared', async () => {
    await createOnBothSides();
    const [row] = await db.rows<User>(
      `SELECT event_at AS "eventAt", event_modified_at AS "eventModifiedAt", event_rank AS "eventRank", event_id AS "eventId"
         FROM users WHERE clerk_user_id = 'user_ada'`,
    );
    const repair = (expectedVersion: EventVersion) =>
      app.get<Database>(DATABASE).transaction((tx) => {
        const statement = { data: userData({ ...ADA, firstName: 'Augusta' }), at: '-infinity', rank: EventRank.update, actor: SYSTEM };
        return app.get(ClerkSync).applyUser({ ...statement, messageId: 'repair', expectedVersion }, tx);
      });
    const key = {
      ...versionOfRow(row!),
      at: new Date(row!.eventAt).toISOString(),
      modifiedAt: new Date(row!.eventModifiedAt).toISOString(),
    };
    for (const other of [{ messageId: 'msg_other' }, { at: '2020-01-01' }, { modifiedAt: '2030-01-01' }, { rank: EventRank.delete }])
      await repair({ ...key, ...other });
    expect((await ours()).users).toMatchObject([{ name: 'Ada' }, {}]);
    await repair(key);
    expect((await ours()).users).toMatchObject([{ name: 'Augusta' }, {}]);
  });

  it('does not apply an API response that is older than the last event', async () => {
    await createOnBothSides();
    // Clerk's API returns stale data for a while.
    await applyEvent('user.updated', userData({ ...ADA, firstName: 'Augusta', updatedAt: minute(10) }));
    const difference = "stale user user_ada (name, Clerk's answer is older than an event of it)";
    expect(await reconcile({ fix: true })).toEqual([difference]);
    expect((await ours()).users).toMatchObject([{ name: 'Augusta' }, {}]);
  });

  describe('with the key of another Clerk instance', () => {
    it('refuses to compare when another instance is configured', async () => {
      await createOnBothSides();
      const other = await open({ CLERK_INSTANCE_ID: 'ins_other' });
      const before = await rows();
      const sentence = `CLERK_SECRET_KEY opens the instance ${CLERK_INSTANCE_ID}, but CLERK_INSTANCE_ID is ins_other.`;
      await expect(reconcile({}, other)).rejects.toThrow(sentence);
      await expect(reconcile({ fix: true, force: true }, other)).rejects.toThrow(sentence);
      await other.close();
      expect(await rows()).toEqual(before);
    });

    it('refuses to repair when it would delete most users, unless forced', async () => {
      const unsure = await open({ CLERK_INSTANCE_ID: '' });
      await db.rows(
        `INSERT INTO users (id, clerk_user_id, name, created_at)
         SELECT gen_random_uuid(), 'user_' || n, '', '2026-01-01' FROM generate_series(1, 22) n`,
      );
      for (let one = 1; one <= 10; one += 1) atClerk.user({ id: `user_${one}`, createdAt: START });
      atClerk.user(BOB);
      const before = await rows();
      const sentence =
        'Clerk does not know 12 of our 22 users: this looks like the key of another instance. Nothing was repaired. Use --force to repair anyway.';
      await expect(reconcile({ fix: true }, unsure)).rejects.toThrow(sentence);
      expect(await rows()).toEqual(before);
      expect(await reconcile({}, unsure)).toHaveLength(12 + 10 + 1);
      expect(await reconcile({ fix: true, force: true }, unsure)).toHaveLength(12 + 10 + 1);
      expect(await reconcile({ fix: true }, unsure)).toEqual([]);
      // Exactly half is not most.
      await db.rows(
        `INSERT INTO users (id, clerk_user_id, name, created_at)
         SELECT gen_random_uuid(), 'user_gone' || n, '', '2026-01-01' FROM generate_series(1, 11) n`,
      );
      expect(await reconcile({ fix: true }, unsure)).toHaveLength(11);
      await unsure.close();
    });

    it('refuses to repair when it knows none of our users, however few, and no instance is configured', async () => {
      const unsure = await open({ CLERK_INSTANCE_ID: '' });
      await db.rows(`INSERT INTO users (id, clerk_user_id, name, created_at) VALUES (gen_random_uuid(), 'user_only', '', '2026-01-01')`);
      atClerk.user(BOB);
      const before = await rows();
      await expect(reconcile({ fix: true }, unsure)).rejects.toThrow('Clerk does not know 1 of our 1 users');
      expect(await rows()).toEqual(before);
      // With a configured instance, the comparison is allowed.
      expect(await reconcile({ fix: true })).toHaveLength(2);
      await unsure.close();
    });
  });

  describe('as a job', () => {
    it('repairs, and counts the differences', async () => {
      await createOnBothSides();
      clerk.users.delete('user_bob');
      atClerk.user({ ...ADA, firstName: 'Augusta', updatedAt: minute(10) });
      await skipJob(db, 'reconcile_clerk', 86_400);
      const running = await startTestApp(environment(), db);
      try {
        const operator = await signUpOperator(running);
        await runJob(running, operator, 'reconcile_clerk');
        expect((await ours()).users).toMatchObject([{ name: 'Augusta' }, { dead: true }]);
        const { text } = await running.http.get('/metrics').expect(200);
        expect(text).toContain('tenantry_clerk_differences{kind="stale",object="user"} 1');
        expect(text).toContain('tenantry_clerk_differences{kind="extra",object="user"} 1');
        expect(text).toContain('tenantry_clerk_differences{kind="missing",object="membership"} 0');
        const [run] = await db.rows('SELECT count, error FROM job_runs WHERE job = $1 ORDER BY started_at DESC LIMIT 1', [
          'reconcile_clerk',
        ]);
        expect(run).toEqual({ count: 2, error: null });
      } finally {
        await running.close();
      }
    });

    it('stops with the application, and keeps the repairs that are done', async () => {
      await createOnBothSides();
      clerk.users.delete('user_bob');
      await skipJob(db, 'reconcile_clerk', 86_400);
      const running = await startTestApp(environment(), db);
      const operator = await signUpOperator(running);
      const requests = new Promise<void>((resolve) => {
        clerk.control.onCall = (call) => {
          if (!call.includes('/memberships')) return;
          clerk.faults.push('hang');
          resolve();
        };
      });
      await running.http.post('/v1/jobs/reconcile_clerk/run').set(operator.auth).expect(202);
      await requests;
      await running.close();
      expect((await ours()).users).toMatchObject([{ dead: false }, { dead: true }]);
      const [run] = await db.rows('SELECT count, error FROM job_runs WHERE job = $1 ORDER BY started_at DESC LIMIT 1', ['reconcile_clerk']);
      expect(run).toEqual({ count: 1, error: null });
    });

    it('does not exist without a Clerk key', async () => {
      const running = await startTestApp({}, db);
      try {
        const operator = await signUpOperator(running);
        await running.http.post('/v1/jobs/reconcile_clerk/run').set(operator.auth).expect(404);
        await expect(reconcile({}, running.app)).rejects.toThrow('CLERK_SECRET_KEY is not set: Clerk cannot be asked.');
      } finally {
        await running.close();
      }
    });
  });
});

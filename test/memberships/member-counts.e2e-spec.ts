import pg from 'pg';
import { v7 } from 'uuid';
import { MemberCountReconciliation } from '../../src/memberships/member-counts.service.js';
import type { Difference } from '../../src/sync/reconciliation.port.js';
import { migrate } from '../../src/platform/database/migrations.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/database.js';
import { migrateThrough } from '../support/migrate-through.js';

const JOIN = `INSERT INTO organization_memberships (id, organization_id, user_id, role) VALUES ($1, $2, $3, 'member')`;
const LEAVE = 'UPDATE organization_memberships SET deleted_at = now() WHERE id = $1';

async function insertOrganizations(db: TestDatabase, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => v7());
  await db.rows(`INSERT INTO organizations (id, name) SELECT unnest($1::uuid[]), ''`, [ids]);
  return ids;
}

async function insertUsers(db: TestDatabase, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => v7());
  await db.rows(`INSERT INTO users (id, name) SELECT unnest($1::uuid[]), ''`, [ids]);
  return ids;
}

async function join(db: TestDatabase, organizationId: string, userId: string): Promise<string> {
  const id = v7();
  await db.rows(JOIN, [id, organizationId, userId]);
  return id;
}

/** What differs from the memberships. */
async function wrongCounts(db: TestDatabase): Promise<object[]> {
  return db.rows(`
    SELECT o.id, o.member_count, count(m.id)::int AS members FROM organizations o
      LEFT JOIN organization_memberships m ON m.organization_id = o.id AND m.deleted_at IS NULL
     GROUP BY o.id HAVING o.member_count IS DISTINCT FROM count(m.id)`);
}

/** A user joins each organization, then leaves each, and so on, a transaction each, until it is over. */
async function churn(
  db: TestDatabase,
  { organizationIds, userId }: { organizationIds: string[]; userId: string },
  isOver: (changes: number) => boolean,
): Promise<void> {
  const client = new pg.Client({ connectionString: db.url });
  await client.connect();
  const joined = new Map<string, string>();
  for (let changes = 0; !isOver(changes); changes += 1) {
    const organizationId = organizationIds[changes % organizationIds.length]!;
    const membershipId = joined.get(organizationId);
    await client.query('BEGIN');
    await client.query('SELECT FROM organizations WHERE id = $1 FOR NO KEY UPDATE', [organizationId]);
    if (membershipId === undefined) {
      joined.set(organizationId, v7());
      await client.query(JOIN, [joined.get(organizationId), organizationId, userId]);
    } else {
      joined.delete(organizationId);
      await client.query(LEAVE, [membershipId]);
    }
    await client.query('COMMIT');
  }
  await client.end();
}

describe('the member count of an organization', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await createTestDatabase();
  });
  afterAll(() => db.drop());

  const countOf = async (id: string) =>
    (await db.rows<{ member_count: number }>('SELECT member_count FROM organizations WHERE id = $1', [id]))[0]?.member_count;

  it('follows joins, leaves and removals, and no other change', async () => {
    const [[one, other], people] = await Promise.all([insertOrganizations(db, 2), insertUsers(db, 4)]);
    const ids: string[] = [];
    for (const person of people) ids.push(await join(db, one!, person));
    expect(await countOf(one!)).toBe(4);
    await db.rows(`UPDATE organization_memberships SET role = 'admin' WHERE id = $1`, [ids[0]]);
    await db.rows(`UPDATE users SET name = 'Ada' WHERE id = $1`, [people[0]]);
    expect(await countOf(one!)).toBe(4);
    await db.rows(LEAVE, [ids[0]]);
    await db.rows(LEAVE, [ids[0]]);
    expect(await countOf(one!)).toBe(3);
    await db.rows('UPDATE organization_memberships SET deleted_at = NULL WHERE id = $1', [ids[0]]);
    expect(await countOf(one!)).toBe(4);
    await db.rows('UPDATE organization_memberships SET organization_id = $2 WHERE id = ANY ($1)', [ids.slice(0, 3), other]);
    expect([await countOf(one!), await countOf(other!)]).toEqual([1, 3]);
    await db.rows('DELETE FROM users WHERE id = $1', [people[0]]);
    await db.rows('DELETE FROM organization_memberships WHERE id = $1', [ids[1]]);
    expect([await countOf(one!), await countOf(other!)]).toEqual([1, 1]);
    await db.rows('DELETE FROM organizations WHERE id = $1', [other]);
    expect(await wrongCounts(db)).toEqual([]);
  });

  it('is part of the transaction of the change', async () => {
    const [[organizationId], [person]] = await Promise.all([insertOrganizations(db, 1), insertUsers(db, 1)]);
    const client = await db.pool.connect();
    await client.query('BEGIN');
    await client.query(JOIN, [v7(), organizationId, person]);
    const { rows } = await client.query('SELECT member_count FROM organizations WHERE id = $1', [organizationId]);
    expect([rows, await countOf(organizationId!)]).toEqual([[{ member_count: 1 }], 0]);
    await client.query('ROLLBACK');
    client.release();
    expect(await countOf(organizationId!)).toBe(0);
  });

  it('is written once when thousands of members end in one statement', async () => {
    const [[organizationId], people] = await Promise.all([insertOrganizations(db, 1), insertUsers(db, 5000)]);
    await db.rows(
      `INSERT INTO organization_memberships (id, organization_id, user_id, role) SELECT gen_random_uuid(), $1, unnest($2::uuid[]), 'member'`,
      [organizationId, people],
    );
    const client = new pg.Client({ connectionString: db.url });
    await client.connect();
    await client.query('BEGIN');
    await client.query('UPDATE organization_memberships SET deleted_at = now() WHERE organization_id = $1', [organizationId]);
    const { rows } = await client.query(`SELECT n_tup_upd::int AS written FROM pg_stat_xact_user_tables WHERE relname = 'organizations'`);
    await client.query('COMMIT');
    await client.end();
    expect(rows).toEqual([{ written: 1 }]);
    expect(await countOf(organizationId!)).toBe(0);
  });

  it('is right after many people join and leave at once', async () => {
    const [organizationIds, people] = await Promise.all([insertOrganizations(db, 3), insertUsers(db, 8)]);
    await Promise.all(people.map((userId) => churn(db, { organizationIds, userId }, (changes) => changes === 100)));
    expect(await wrongCounts(db)).toEqual([]);
  });

  it('needs no lock of the caller: statements about the same organizations in different orders do not deadlock', async () => {
    const [organizationIds, people] = await Promise.all([insertOrganizations(db, 40), insertUsers(db, 4)]);
    const joinAll = async (userId: string, order: string) => {
      const insert = `INSERT INTO organization_memberships (id, organization_id, user_id, role)
        SELECT gen_random_uuid(), id, $2, 'member' FROM unnest($1::uuid[]) AS all_of (id) ORDER BY id ${order}`;
      for (let round = 0; round < 20; round += 1) {
        await db.rows(insert, [organizationIds, userId]);
        await db.rows('UPDATE organization_memberships SET deleted_at = now() WHERE user_id = $1', [userId]);
      }
    };
    await Promise.all(people.map((userId, index) => joinAll(userId, index % 2 === 0 ? 'ASC' : 'DESC')));
    expect(await wrongCounts(db)).toEqual([]);
  });

  describe('and the command organizations verify', () => {
    let t: TestApp;
    beforeAll(async () => {
      t = await startTestApp({}, db);
    });
    afterAll(() => t.close());

    it('finds no difference between them', async () => {
      const { found } = await t.app.get(MemberCountReconciliation).reconcile();
      expect(found).toBe(0);
    });

    it('names and repairs a count that differs, whatever happens meanwhile', async () => {
      const [organizationIds, people] = await Promise.all([insertOrganizations(db, 250), insertUsers(db, 2)]);
      for (const id of organizationIds) await join(db, id, people[0]!);
      const [first, last] = [organizationIds[0]!, organizationIds.at(-1)!];
      await db.rows('UPDATE organizations SET member_count = 7 WHERE id = ANY ($1)', [[first, last]]);
      const differences: Difference[] = [];
      const reconciliation = t.app.get(MemberCountReconciliation);
      await reconciliation.reconcile({ onDifference: (one) => differences.push(one) });
      const difference = { kind: 'stale', resource: 'member count', details: ['7 instead of 1'], isRepaired: false };
      expect(differences).toEqual([first, last].map((id) => ({ ...difference, id })));
      const stop = new AbortController();
      const churning = churn(db, { organizationIds: [first, last], userId: people[1]! }, () => stop.signal.aborted);
      const { repaired } = await reconciliation.reconcile({ fix: true });
      stop.abort();
      await churning;
      expect(repaired).toBe(2);
      expect(await wrongCounts(db)).toEqual([]);
    });
  });
});

describe('the migration that introduces member counts', () => {
  let db: TestDatabase;
  beforeEach(async () => {
    db = await createEmptyDatabase();
    await migrateThrough(db, 'verifications_of_users');
  });
  afterEach(() => db.drop());

  it('counts right while people join and leave, and organizations are created', async () => {
    const [organizationIds, people] = await Promise.all([insertOrganizations(db, 300), insertUsers(db, 20)]);
    await db.rows(
      `INSERT INTO organization_memberships (id, organization_id, user_id, role, deleted_at)
       SELECT gen_random_uuid(), o, u, 'member', CASE WHEN random() < 0.2 THEN now() END FROM unnest($1::uuid[]) o, unnest($2::uuid[]) u`,
      [organizationIds, people],
    );
    const stop = new AbortController();
    const joining = await insertUsers(db, 4);
    const churning = joining.map((userId) =>
      churn(db, { organizationIds: organizationIds.slice(0, 7), userId }, () => stop.signal.aborted),
    );
    const creating = (async () => {
      for (; !stop.signal.aborted;) await join(db, (await insertOrganizations(db, 1))[0]!, people[0]!);
    })();
    expect(await migrate(db.url)).toContain('0017_member_counts');
    stop.abort();
    await Promise.all([...churning, creating]);
    expect(await wrongCounts(db)).toEqual([]);
    const [{ created }] = (await db.rows('SELECT count(*)::int AS created FROM organizations')) as [{ created: number }];
    expect(created).toBeGreaterThan(300);
  });

  it('continues after it was broken off', async () => {
    const [organizationIds, [person]] = await Promise.all([insertOrganizations(db, 3), insertUsers(db, 1)]);
    for (const id of organizationIds) await join(db, id, person!);
    const holder = await db.pool.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT FROM organizations WHERE id = $1 FOR UPDATE', [organizationIds.toSorted()[1]]);
    await expect(migrate(db.url)).rejects.toThrow('Migration 0017_member_counts failed: canceling statement due to lock timeout');
    await holder.query('COMMIT');
    holder.release();
    expect(await migrate(db.url)).toContain('0017_member_counts');
    expect(await wrongCounts(db)).toEqual([]);
  }, 20_000);
});

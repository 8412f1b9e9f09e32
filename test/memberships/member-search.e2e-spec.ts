import { v7 } from 'uuid';
import { migrate } from '../../src/platform/database/migrations.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { createEmptyDatabase, type TestDatabase } from '../support/database.js';
import { migrateThrough } from '../support/migrate-through.js';
import { type SignedInPerson, signUp, signUpOperator } from '../support/people.js';
import { createOrganization } from '../support/tenants.js';

/** Of the large organization: 1,500 called Anna, then as many called Zoe, and three with a name of their own. */
const NAMES = `
  SELECT n, CASE WHEN n <= 1500 THEN 'Anna' WHEN n <= 3000 THEN 'Zoe' ELSE 'Quentin' END || ' Family' || n AS name FROM generate_series(1, 3003) n`;

/** @param ownPrefix keeps the addresses of two calls apart */
async function insertMembers(db: TestDatabase, organizationId: string, ownPrefix: string): Promise<void> {
  await db.rows(
    `WITH people AS (
       INSERT INTO users (id, name, email, email_verified, email_verified_at, created_at)
       SELECT gen_random_uuid(), name, $2 || n || '@mail.example.com', true, now(), now() - interval '1 day' + n * interval '1 second' FROM (${NAMES}) named
       RETURNING id, created_at)
     INSERT INTO organization_memberships (id, organization_id, user_id, role, created_at) SELECT gen_random_uuid(), $1, id, 'member', created_at FROM people`,
    [organizationId, ownPrefix],
  );
}

interface Listed {
  id: string;
  name?: string;
  email?: string;
  user?: { id: string; name: string; email: string };
}

describe('a search', () => {
  let t: TestApp;
  let person: SignedInPerson;
  let organizationId: string;
  beforeAll(async () => {
    t = await startTestApp();
    person = await signUpOperator(t);
    ({ id: organizationId } = await createOrganization(t, person));
    await insertMembers(t.db, organizationId, 'person');
    // The same people elsewhere: words of another organization are never found.
    const other = await createOrganization(t, person);
    await insertMembers(t.db, other.id, 'other');
    await t.db.rows('ANALYZE');
  });
  afterAll(() => t.close());

  /** The names of each page. */
  async function pagesOf(path: string, query: Record<string, string>): Promise<string[][]> {
    const pages: string[][] = [];
    let cursor: string | null = null;
    do {
      const { body } = await t.http
        .get(path)
        .query({ limit: '100', ...query, ...(cursor !== null && { cursor }) })
        .set(person.auth)
        .expect(200);
      pages.push((body.data as Listed[]).map((one) => (one.user ?? one).name!));
      cursor = body.nextCursor as string | null;
    } while (cursor !== null);
    return pages;
  }
  const pagesOfMembers = (query: Record<string, string>) => pagesOf(`/v1/organizations/${organizationId}/memberships`, query);

  it.each(['joined', 'name'])('finds a word that few have on one page, sorted by %s', async (sort) => {
    const [page, ...more] = await pagesOfMembers({ search: 'quent', sort });
    expect([page!.length, more]).toEqual([3, []]);
    expect(await pagesOfMembers({ search: 'quentin family3002', sort })).toEqual([['Quentin Family3002']]);
    expect(await pagesOfMembers({ search: 'other3002', sort })).toEqual([[]]);
    expect(await pagesOfMembers({ search: 'nobody', sort })).toEqual([[]]);
    expect(await pagesOfMembers({ search: '@!', sort })).toEqual([[]]);
  });

  it.each(['joined', 'name'])('finds everyone with a word that many have, sorted by %s, on pages that are full or go on', async (sort) => {
    const [expected] = await t.db.rows<{ names: string[] }>(
      `SELECT array_agg(name ORDER BY ${sort === 'name' ? 'name COLLATE "C"' : 'n'}) AS names FROM (${NAMES}) named WHERE name LIKE 'Zoe%'`,
    );
    const pages = await pagesOfMembers({ search: 'ZOE example', sort });
    const found = pages.flat();
    expect(found).toHaveLength(1500);
    expect(sort === 'name' ? found.toSorted() : found).toEqual(sort === 'name' ? expected!.names.toSorted() : expected!.names);
    expect(new Set(found).size).toBe(1500);
    // The first 1,500 in the list are all called Anna.
    expect(pages[0]).toEqual([]);
    const anna = await pagesOfMembers({ search: 'anna', sort });
    expect(anna.slice(0, 15).every(({ length }) => length === 100)).toBe(true);
    expect(anna.flat()).toHaveLength(1500);
  });

  it('of an operator finds users in the same way, newest first', async () => {
    const pages = await pagesOf('/v1/users', { search: 'anna' });
    expect(pages.flat()).toHaveLength(3000);
    expect(new Set(pages.flat()).size).toBe(1500);
    expect(pages[0]).toEqual([]);
    expect((await pagesOf('/v1/users', { search: 'quentin' })).map(({ length }) => length)).toEqual([6]);
    expect(await pagesOf('/v1/users', { search: 'person1234@mail.example' })).toEqual([['Anna Family1234']]);
    expect(await pagesOf('/v1/users', { search: 'person1234@mail', createdBefore: '2001-01-01' })).toEqual([[]]);
  });

  it.each([
    ['organization_memberships_words_idx', 'SELECT count(*) FROM matching_members($1, $2, 10)', () => [organizationId, 'nobody:*']],
    ['users_search_idx', 'SELECT count(*) FROM matching_users($1, 10)', () => ['nobody:*']],
  ])('asks %s', async (index, text, values) => {
    const client = await t.db.pool.connect();
    const scans = `SELECT pg_stat_get_xact_numscans($1::regclass)::int AS count`;
    await client.query('BEGIN');
    await client.query(text, values());
    expect((await client.query(scans, [index])).rows).toEqual([{ count: 1 }]);
    await client.query('ROLLBACK');
    client.release();
  });

  it('does not find who left, and finds them again when they are back', async () => {
    const move = (deletedAt: string, name: string) =>
      t.db.rows(
        `UPDATE organization_memberships m SET deleted_at = ${deletedAt} FROM users u WHERE u.id = m.user_id AND u.name = $1 AND organization_id = $2`,
        [name, organizationId],
      );
    await move('now()', 'Quentin Family3001');
    expect(await pagesOfMembers({ search: 'family3001' })).toEqual([[]]);
    await t.db.rows(`UPDATE users SET name = 'Quirin Family3001' WHERE name = 'Quentin Family3001' AND email LIKE 'person%'`);
    await move('NULL', 'Quirin Family3001');
    expect(await pagesOfMembers({ search: 'quirin' })).toEqual([['Quirin Family3001']]);
    await t.db.rows(`UPDATE users SET name = 'Quentin Family3001' WHERE name = 'Quirin Family3001'`);
    expect(await pagesOfMembers({ search: 'quentin family3001' })).toEqual([['Quentin Family3001']]);
  });

  it('follows a new name and a new address', async () => {
    const newcomer = await signUp(t, { name: 'Ágnes Oğuz' });
    await t.db.rows(`INSERT INTO organization_memberships (id, organization_id, user_id, role) VALUES ($1, $2, $3, 'admin')`, [
      v7(),
      organizationId,
      newcomer.id,
    ]);
    expect(await pagesOfMembers({ search: 'ágnes oğ' })).toEqual([['Ágnes Oğuz']]);
    await t.http.patch('/v1/users/me').set(newcomer.auth).send({ name: 'Ольга' }).expect(200);
    expect(await pagesOfMembers({ search: 'ágnes' })).toEqual([[]]);
    expect(await pagesOfMembers({ search: 'ольга', role: 'admin' })).toEqual([['Ольга']]);
    expect(await pagesOfMembers({ search: 'ольга', role: 'member' })).toEqual([[]]);
    await t.db.rows(`UPDATE users SET email = 'moved@elsewhere.example' WHERE id = $1`, [newcomer.id]);
    expect(await pagesOfMembers({ search: 'elsewhere' })).toEqual([['Ольга']]);
  });
});

describe('the words of members', () => {
  let db: TestDatabase;
  beforeEach(async () => {
    db = await createEmptyDatabase();
  });
  afterEach(() => db.drop());

  it('are filled for the members of an earlier version, also when the migration is broken off and runs again', async () => {
    await migrateThrough(db, 'read_indexes');
    const organizationId = v7();
    await db.rows(`INSERT INTO organizations (id, name) VALUES ($1, 'Large')`, [organizationId]);
    await insertMembers(db, organizationId, 'person');
    const broken = await db.pool.connect();
    await broken.query('BEGIN');
    // The last row of the backfill stays locked for longer than the migration waits.
    await broken.query(
      'SELECT FROM organization_memberships WHERE id = (SELECT max(id::text)::uuid FROM organization_memberships) FOR UPDATE',
    );
    await expect(migrate(db.url)).rejects.toThrow(/member_words/);
    await broken.query('ROLLBACK');
    broken.release();
    await migrate(db.url);
    expect(
      await db.rows(
        `SELECT count(*)::int AS count FROM organization_memberships m JOIN users u ON u.id = m.user_id
          WHERE m.user_words = words_in_organization(m.organization_id, words_of_user(u.name, u.username, u.email))`,
      ),
    ).toEqual([{ count: 3003 }]);
  });
});

import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { grantAppRole } from '../../../src/platform/database/app-role.js';
import { DATABASE, type Database } from '../../../src/platform/database/database.js';
import { migrate } from '../../../src/platform/database/migrations.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { asAppRole, createEmptyDatabase, onServer, type TestDatabase } from '../../support/database.js';
import { signUp } from '../../support/people.js';

const PRIVILEGE = '42501';

/** The SQLSTATE with which the server rejects the statements, or undefined. */
async function refusalOf(client: pg.Client, ...statements: string[]): Promise<string | undefined> {
  await client.query('BEGIN');
  try {
    for (const statement of statements) await client.query(statement);
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  } finally {
    await client.query('ROLLBACK');
  }
}

describe("the application's database role", () => {
  let t: TestApp;
  let client: pg.Client;
  beforeAll(async () => {
    t = await startTestApp();
    client = new pg.Client({ connectionString: asAppRole(t.db.url) });
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await t.close();
  });

  it('is the role of the application under test', async () => {
    const { rows } = await t.app
      .get<Database>(DATABASE)
      .execute<{ name: string; owns: boolean }>(
        `SELECT current_user AS name, pg_has_role(current_user, relowner, 'MEMBER') AS owns FROM pg_class WHERE oid = 'audit_log'::regclass`,
      );
    expect(rows).toEqual([{ name: new URL(asAppRole(t.db.url)).username, owns: false }]);
  });

  it.each([
    ['DROP TABLE audit_log'],
    ['TRUNCATE audit_log'],
    ['ALTER TABLE audit_log DISABLE TRIGGER ALL'],
    ['DROP TRIGGER audit_log_append_only ON audit_log'],
    ['CREATE TRIGGER mine BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()'],
    [`SELECT set_config('tenantry.audit_maintenance', 'on', true)`, 'DELETE FROM audit_log'],
    [`SELECT set_config('tenantry.audit_maintenance', 'on', true)`, `UPDATE audit_log SET action = 'x'`],
    ['GRANT ALL ON audit_log TO CURRENT_USER', 'DELETE FROM audit_log'],
    ['SELECT FROM audit_log FOR UPDATE'],
    ['LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE'],
    [`CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE sql AS 'SELECT NULL'`],
    ['DROP FUNCTION prune_audit_log'],
    ['ALTER FUNCTION prune_audit_log SECURITY INVOKER'],
    ['SET session_replication_role = replica'],
    ['SET SESSION AUTHORIZATION DEFAULT; SET ROLE pg_database_owner'],
    ['DROP TABLE users'],
    ['DROP TABLE usage'],
    ['TRUNCATE usage'],
    [`ALTER TABLE usage DETACH PARTITION usage_${new Date().toISOString().slice(0, 7).replace('-', '_')}`],
    ['CREATE TABLE public.mine (id int)'],
    ['CREATE SCHEMA mine'],
    [`INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES ('x', 1)`],
    [`COPY users TO PROGRAM 'cat'`],
  ])('may not: %s', async (...statements) => {
    expect(await refusalOf(client, ...statements)).toMatch(/^(42501|42809)$/);
  });

  it('may add audit entries, and delete none from the last thirty days', async () => {
    const add = (days: number) =>
      client.query(
        `INSERT INTO audit_log (id, actor_kind, action, target_type, target_id, created_at)
         VALUES (gen_random_uuid(), 'system', 'test.done', 'test', 'test', now() - $1 * interval '1 day')`,
        [days],
      );
    for (const days of [0, 1, 29, 31, 400]) await add(days);
    const { rows } = await client.query(`SELECT prune_audit_log('infinity', 1000) AS removed`);
    expect(rows).toEqual([{ removed: '2' }]);
    const left = await t.db.rows(
      `SELECT extract(day FROM now() - created_at)::int AS days FROM audit_log WHERE action = 'test.done' ORDER BY 1`,
    );
    expect(left).toEqual([{ days: 0 }, { days: 1 }, { days: 29 }]);
  });

  it('may erase users from the audit log only after their deletion, also with a temporary table of the same name', async () => {
    const { id, auth } = await signUp(t);
    // Processes of an earlier version call the other one.
    const calls = [`SELECT erase_audit_entries(ARRAY['${id}']::uuid[], 10)`, `SELECT erase_from_audit_log(ARRAY['${id}']::uuid[])`];
    for (const erase of calls) {
      expect(await refusalOf(client, erase)).toBe(PRIVILEGE);
      expect(await refusalOf(client, 'CREATE TEMP TABLE users (id uuid, deleted_at timestamptz)', erase)).toBe(PRIVILEGE);
    }
    await t.http.delete('/v1/users/me').set(auth).expect(204);
    for (const erase of calls) expect(await refusalOf(client, erase)).toBeUndefined();
  });

  it('may create and drop partitions of usage, and nothing else', async () => {
    expect(await refusalOf(client, `SELECT create_usage_partition('1999-01-02')`)).toBe('22023');
    expect(await refusalOf(client, `SELECT drop_usage_partition('1999-01-01')`)).toBe('42P01');
    // A table that only has the name of a partition.
    await t.db.rows('CREATE TABLE usage_1999_02 (id int)');
    expect(await refusalOf(client, `SELECT drop_usage_partition('1999-02-01')`)).toBe('42P01');
    await client.query(`SET timezone = 'Asia/Kolkata'; SET datestyle = 'SQL, DMY'; SELECT create_usage_partition('1999-03-01')`);
    const [{ bounds }] = (await t.db.rows<{ bounds: string }>(
      `SELECT pg_get_expr(relpartbound, oid) AS bounds FROM pg_class WHERE relname = 'usage_1999_03'`,
    )) as [{ bounds: string }];
    expect(bounds).toBe(`FOR VALUES FROM ('1999-03-01 00:00:00+00') TO ('1999-04-01 00:00:00+00')`);
    await client.query(`RESET ALL; SELECT drop_usage_partition('1999-03-01')`);
    expect(await t.db.rows(`SELECT FROM pg_class WHERE relname = 'usage_1999_03'`)).toEqual([]);
  });

  it('has its privileges on tables of later migrations without another grant', async () => {
    await t.db.rows(`CREATE TABLE later (id int); CREATE FUNCTION later() RETURNS int LANGUAGE sql AS 'SELECT 1'`);
    await t.db.rows('REVOKE ALL ON FUNCTION later() FROM PUBLIC');
    await client.query('INSERT INTO later VALUES (1)');
    await client.query('UPDATE later SET id = later()');
    await client.query('DELETE FROM later');
    expect(await refusalOf(client, 'TRUNCATE later')).toBe(PRIVILEGE);
    expect(await refusalOf(client, 'DROP TABLE later')).toBe(PRIVILEGE);
  });

  it('can be granted repeatedly', async () => {
    const { username } = new URL(asAppRole(t.db.url));
    for (let round = 0; round < 2; round += 1) expect(await grantAppRole(t.db.url, username)).toBe(false);
    expect(await refusalOf(client, 'DELETE FROM audit_log')).toBe(PRIVILEGE);
    await signUp(t);
  });
});

describe('granting the role as an owner without superuser rights', () => {
  const suffix = randomBytes(4).toString('hex');
  const [owner, app] = [`owner_${suffix}`, `app_${suffix}`];
  const as = (url: string, username: string) => Object.assign(new URL(url), { username, password: 'secret' }).href;
  let db: TestDatabase;
  let ownerUrl: string;

  beforeAll(async () => {
    db = await createEmptyDatabase();
    await onServer(`CREATE ROLE ${owner} LOGIN PASSWORD 'secret'`);
    await onServer(`CREATE ROLE ${app} LOGIN PASSWORD 'secret'`);
    await onServer(`ALTER DATABASE ${new URL(db.url).pathname.slice(1)} OWNER TO ${owner}`);
    ownerUrl = as(db.url, owner);
    await migrate(ownerUrl);
  });
  afterAll(async () => {
    await db.drop();
    for (const role of [app, owner]) await onServer(`DROP ROLE ${role}`);
  });

  it('serves an application with this role', async () => {
    expect(await grantAppRole(ownerUrl, app)).toBe(false);
    const t = await startTestApp({ DATABASE_URL: as(db.url, app), DATABASE_DIRECT_URL: ownerUrl }, db);
    try {
      await t.http.get('/health/ready').expect(200);
      await signUp(t);
    } finally {
      await t.close();
    }
  });

  it('refuses roles with more rights, and changes nothing', async () => {
    const granted = () =>
      db.rows(`SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1`);
    const before = await granted();
    await expect(grantAppRole(ownerUrl, owner)).rejects.toThrow(`The role ${owner} is, or may become, the owner of the tables`);
    await expect(grantAppRole(ownerUrl, new URL(db.url).username)).rejects.toThrow('is a superuser');
    await expect(grantAppRole(ownerUrl, `none_${suffix}`)).rejects.toThrow('may not create one. Create it first.');
    for (const name of ['public', 'none', 'pg_monitor', '', 'a"b', 'a;b', 'A'])
      await expect(grantAppRole(ownerUrl, name)).rejects.toThrow('The name of the role must be');
    await onServer(`GRANT ${owner} TO ${app}`);
    await expect(grantAppRole(ownerUrl, app)).rejects.toThrow('is, or may become, the owner of the tables');
    await onServer(`REVOKE ${owner} FROM ${app}`);
    await onServer(`GRANT pg_write_all_data TO ${app}`);
    await expect(grantAppRole(ownerUrl, app)).rejects.toThrow('may change the audit log by another grant');
    await onServer(`REVOKE pg_write_all_data FROM ${app}`);
    await onServer(`ALTER ROLE ${app} CREATEROLE`);
    await expect(grantAppRole(ownerUrl, app)).rejects.toThrow('may create roles');
    await onServer(`ALTER ROLE ${app} NOCREATEROLE`);
    expect(await granted()).toEqual(before);
  });

  it('creates a missing role where the owner may', async () => {
    const made = `made_${suffix}`;
    expect(await grantAppRole(db.url, made)).toBe(true);
    expect(await db.rows('SELECT rolcanlogin, rolsuper FROM pg_roles WHERE rolname = $1', [made])).toEqual([
      { rolcanlogin: true, rolsuper: false },
    ]);
    await db.rows(`DROP OWNED BY ${made}; DROP ROLE ${made}`);
  });
});

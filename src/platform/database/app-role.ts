import pg from 'pg';

export class AppRoleRefused extends Error {}

/** With any of these privileges a role could give itself all others. */
const TOO_MUCH = `
  SELECT what
    FROM pg_roles r, pg_class t, LATERAL (VALUES
      ('is a superuser', r.rolsuper),
      ('may create roles', r.rolcreaterole),
      ('may replicate', r.rolreplication),
      ('is, or may become, the owner of the tables', pg_has_role(r.oid, t.relowner, 'MEMBER')),
      ('may create objects in the schema public', has_schema_privilege(r.oid, t.relnamespace, 'CREATE')),
      ('may change the audit log by another grant',
        has_table_privilege(r.oid, t.oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER') OR has_any_column_privilege(r.oid, t.oid, 'UPDATE'))
    ) AS checks (what, holds)
   WHERE holds AND r.rolname = $1 AND t.oid = 'public.audit_log'::regclass`;

/** Without those of extensions, which managed services put into the same schema. */
const OWN_TABLES = `
  SELECT oid::regclass::text AS name FROM pg_class
   WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND pg_has_role(relowner, 'USAGE')`;
const OWN_FUNCTIONS = `
  SELECT oid::regprocedure::text AS name FROM pg_proc
   WHERE pronamespace = 'public'::regnamespace AND pg_has_role(proowner, 'USAGE')`;

/**
 * Grants a role what the application needs, including default privileges on the tables of later migrations.
 * @param connectionString of the role that owns the tables
 * @returns whether the role was created
 * @throws {AppRoleRefused} when the role can do more than it may; nothing is changed
 */
export async function grantAppRole(connectionString: string, role: string): Promise<boolean> {
  if (!/^(?!pg_|public$|none$)[a-z_][a-z0-9_-]{0,62}$/.test(role))
    throw new AppRoleRefused('The name of the role must be lower-case letters, digits, _ and -, and must not begin with pg_.');
  const client = new pg.Client({ connectionString, application_name: 'tenantry-grant', connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query('BEGIN');
    const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [role]);
    const isNew = rowCount === 0;
    if (isNew) await create(client, role);
    await grant(client, pg.escapeIdentifier(role));
    const { rows } = await client.query<{ what: string }>(TOO_MUCH, [role]);
    if (rows.length > 0) throw new AppRoleRefused(`The role ${role} ${rows.map(({ what }) => what).join(', and ')}. Nothing was granted.`);
    await client.query('COMMIT');
    return isNew;
  } finally {
    await client.end();
  }
}

async function create(client: pg.Client, role: string): Promise<void> {
  try {
    await client.query(`CREATE ROLE ${pg.escapeIdentifier(role)} LOGIN`);
  } catch (error) {
    if ((error as { code?: string }).code !== '42501') throw error;
    throw new AppRoleRefused(`There is no role ${role}, and the role of DATABASE_DIRECT_URL may not create one. Create it first.`);
  }
}

async function grant(client: pg.Client, role: string): Promise<void> {
  const namesFrom = async (query: string) => (await client.query<{ name: string }>(query)).rows.map(({ name }) => name).join(', ');
  const database = await namesFrom('SELECT quote_ident(current_database()) AS name');
  const tables = await namesFrom(OWN_TABLES);
  const rows = 'SELECT, INSERT, UPDATE, DELETE';
  for (const statement of [
    `GRANT CONNECT ON DATABASE ${database} TO ${role}`,
    'REVOKE CREATE ON SCHEMA public FROM PUBLIC',
    `GRANT USAGE ON SCHEMA public, drizzle TO ${role}`,
    `REVOKE ALL ON ${tables} FROM ${role}`,
    `GRANT ${rows} ON ${tables} TO ${role}`,
    `REVOKE UPDATE, DELETE ON public.audit_log FROM ${role}`,
    `GRANT EXECUTE ON FUNCTION ${await namesFrom(OWN_FUNCTIONS)} TO ${role}`,
    `GRANT SELECT ON ALL TABLES IN SCHEMA drizzle TO ${role}`,
    `ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ${rows} ON TABLES TO ${role}`,
    `ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO ${role}`,
    `ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO ${role}`,
  ])
    await client.query(statement);
}

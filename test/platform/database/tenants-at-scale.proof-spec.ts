import pg from 'pg';
import { DATABASE, type Database } from '../../../src/platform/database/database.js';
import { MembershipsService } from '../../../src/memberships/memberships.service.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { type SignedInPerson, signUp } from '../../support/people.js';
import { addMember, createOrganization, verifyEmail } from '../../support/tenants.js';

const USERS = 100_000;
const BIG = 50_000;
const ORGANIZATIONS = 1_000;
/** Tables that no query may read with a sequential scan. */
const BIG_TABLES = new Set(['users', 'organization_memberships', 'invitations', 'sessions', 'api_keys']);

interface Statement {
  text: string;
  values: (string | number | null)[];
  prepared: boolean;
}

interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Shared Hit Blocks': number;
  'Shared Read Blocks': number;
  Plans?: PlanNode[];
}

describe('with a million memberships', () => {
  let t: TestApp;
  let ada: SignedInPerson;
  let big: { id: string; path: string };
  beforeAll(async () => {
    t = await startTestApp();
    ada = await signUp(t);
    await verifyEmail(t, ada);
    big = await createOrganization(t, ada);
    await fill();
  }, 120_000);
  afterAll(() => t.close());

  describe('the member list of the largest organization', () => {
    it.each(['sort=joined', 'sort=name', 'role=member', 'role=admin&sort=joined', 'role=member&sort=name'])(
      'reads as much for page 400 as for page 1: %s',
      async (query) => {
        const path = `${big.path}/memberships?limit=25&${query}`;
        const [first] = await listStatements(path);
        const { body } = await t.http.get(path).set(ada.auth).expect(200);
        const next = body.nextCursor as string | null;
        const firstPlan = await explain(first!);
        expect(buffersOf(firstPlan)).toBeLessThan(400);
        if (next === null) return;
        const [second] = await listStatements(`${path}&cursor=${encodeURIComponent(next)}`);
        const last = body.data.at(-1) as { id: string; createdAt: string; user: { name: string } };
        const byName = query.includes('sort=name');
        const [deep] = await t.db.rows<{ id: string; at: Date; name: string }>(
          `SELECT id, created_at AS at, user_name AS name FROM organization_memberships
            WHERE organization_id = $1 AND deleted_at IS NULL ORDER BY ${byName ? 'user_name' : 'created_at'}, id OFFSET 10000 LIMIT 1`,
          [big.id],
        );
        const moved = new Map<unknown, string>([
          [last.id, deep!.id],
          [byName ? last.user.name : last.createdAt, byName ? deep!.name : deep!.at.toISOString()],
        ]);
        const page400 = { ...second!, values: second!.values.map((value) => moved.get(value) ?? value) };
        expect(page400.values).toContain(deep!.id);
        expect(buffersOf(await explain(page400))).toBeLessThan(buffersOf(firstPlan) * 1.5 + 50);
      },
    );

    it.each(['search=first17+last23', 'search=first17&sort=name', 'search=user4242', 'search=first17&role=admin', 'search=nobody'])(
      'needs no sequential scan: %s',
      async (query) => {
        // The next members, and then those that an index found.
        const statements = await listStatements(`${big.path}/memberships?limit=25&${query}`, [1, 2]);
        for (const statement of statements) await explain(statement);
      },
    );

    it('checks for an admin without reading the members', async () => {
      const memberships = t.app.get(MembershipsService);
      const [statement] = await statementsOf(
        () => memberships.ensureAdmins([big.id], t.app.get<Database>(DATABASE)),
        /^update .*role = 'admin'/s,
      );
      expect(buffersOf(await explain(statement!))).toBeLessThan(20);
    });
  });

  it.each(['/v1/organizations?limit=25', '/v1/invitations?limit=25'])('lists the caller’s own rows with an index: %s', async (path) => {
    const [first] = await listStatements(path);
    const { body } = await t.http.get(path).set(ada.auth).expect(200);
    expect(body.data).toHaveLength(25);
    const [second] = await listStatements(`${path}&cursor=${encodeURIComponent(body.nextCursor)}`);
    const [one, two] = [buffersOf(await explain(first!)), buffersOf(await explain(second!))];
    expect(two).toBeLessThan(one * 1.5 + 50);
  });

  it.each(['', '&status=pending', '&status=accepted', '&status=revoked', '&status=expired'])(
    'lists the invitations of an organization with an index: %s',
    async (query) => {
      const path = `${big.path}/invitations?limit=25${query}`;
      const [first] = await listStatements(path);
      const { body } = await t.http.get(path).set(ada.auth).expect(200);
      const firstPlan = await explain(first!);
      const [second] = await listStatements(`${path}&cursor=${encodeURIComponent(body.nextCursor)}`);
      const last = body.data.at(-1) as { id: string; createdAt: string };
      const [deep] = await t.db.rows<{ id: string; at: Date }>(
        'SELECT id, created_at AS at FROM invitations WHERE organization_id = $1 ORDER BY created_at DESC, id DESC OFFSET 10000 LIMIT 1',
        [big.id],
      );
      const moved = new Map<unknown, string>([
        [last.id, deep!.id],
        [last.createdAt, deep!.at.toISOString()],
      ]);
      const page400 = { ...second!, values: second!.values.map((value) => moved.get(value) ?? value) };
      expect(buffersOf(await explain(page400))).toBeLessThan(buffersOf(firstPlan) * 1.5 + 50);
    },
  );

  it('guards a request with a few index pages, also with a generic plan', async () => {
    const statements = await statementsOf(() => t.http.get(big.path).set(ada.auth).expect(200), /sessions|rate_limits/);
    const { body } = await t.http
      .post(`${big.path}/api-keys`)
      .set(ada.auth)
      .send({ name: 'k', scopes: ['members:read'] })
      .expect(201);
    statements.push(
      ...(await statementsOf(
        () => t.http.get(`${big.path}/memberships?limit=1`).set('x-api-key', body.key).expect(200),
        /FROM api_keys k/,
      )),
    );
    const kinds = ['organization_memberships m', 'INTO rate_limits', 'FROM api_keys k'];
    for (const kind of kinds) expect(statements.some(({ text }) => text.includes(kind))).toBe(true);
    for (const statement of statements) {
      expect(statement.prepared).toBe(true);
      expect(buffersOf(await explain(statement))).toBeLessThan(60);
      expect(buffersOf(await explainGeneric(statement))).toBeLessThan(60);
    }
  });

  it('finds whether two users share an organization with an index', async () => {
    const [statement] = await statementsOf(
      () => t.http.get('/v1/users/00000001-0000-7000-8000-000000000042').set(ada.auth).expect(200),
      /"other"/,
    );
    await explain(statement!);
  });

  it('deletes an organization or a user with tombstones without reading all memberships', async () => {
    for (const column of ['organization_id', 'user_id']) {
      await explain({
        text: `DELETE FROM organization_memberships WHERE ${column} = $1`,
        values: ['00000000-0000-7000-8000-000000000007'],
        prepared: false,
      });
    }
  });

  /** The list statements of a request. @param counts how many it may send */
  async function listStatements(path: string, counts = [1]): Promise<Statement[]> {
    const statements = await statementsOf(() => t.http.get(path).set(ada.auth).expect(200), /^select .*\blimit \$/s);
    expect(counts).toContain(statements.length);
    return statements;
  }

  /** The statements that the application sends during some work. */
  async function statementsOf(work: () => PromiseLike<unknown>, matching: RegExp): Promise<Statement[]> {
    const seen: Statement[] = [];
    const client = t.app.get<Database>(DATABASE).$client;
    const query: (...parameters: unknown[]) => never = client.query.bind(client);
    client.query = (...parameters: unknown[]) => {
      const [config, values] = parameters as [pg.QueryConfig<Statement['values']>, Statement['values'] | undefined];
      seen.push({ text: config.text, values: values ?? config.values ?? [], prepared: config.name !== undefined });
      return query(...parameters);
    };
    try {
      await work();
    } finally {
      client.query = query;
    }
    return seen.filter(({ text }) => matching.test(text));
  }

  /** Explains a statement by running it, and rolls it back. */
  async function explain({ text, values }: Statement): Promise<PlanNode> {
    return inTransaction(async (client) => {
      const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
        `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${text}`,
        values,
      );
      return checked(text, rows[0]!['QUERY PLAN'][0].Plan);
    });
  }

  /** Like `explain` with a generic plan, which a prepared statement may use. */
  async function explainGeneric({ text, values }: Statement): Promise<PlanNode> {
    return inTransaction(async (client) => {
      await client.query('SET LOCAL plan_cache_mode = force_generic_plan');
      await client.query(`PREPARE generic AS ${text}`);
      try {
        const literals = values.map((value) => (value === null ? 'NULL' : pg.escapeLiteral(String(value)))).join(', ');
        const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
          `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE generic(${literals})`,
        );
        return checked(text, rows[0]!['QUERY PLAN'][0].Plan);
      } finally {
        await client.query('DEALLOCATE generic');
      }
    });
  }

  async function inTransaction<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await t.db.pool.connect();
    try {
      await client.query('BEGIN');
      return await work(client);
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
  }

  function checked(text: string, plan: PlanNode): PlanNode {
    expect(text).not.toMatch(/\boffset\b/i);
    const scanned = nodesOf(plan).filter((node) => node['Node Type'].endsWith('Seq Scan') && BIG_TABLES.has(node['Relation Name'] ?? ''));
    expect([text, scanned.map((node) => node['Relation Name'])]).toEqual([text, []]);
    return plan;
  }

  /** Inserts rows without constraints and indexes, and adds those afterwards. */
  async function fill(): Promise<void> {
    const tables = ['users', 'organization_memberships', 'invitations'];
    const indexes = await t.db.rows<{ name: string; definition: string }>(
      `SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition FROM pg_index i
        WHERE i.indrelid = ANY ($1::regclass[]) AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)`,
      [tables],
    );
    const id = (kind: number, n: string) => `('0000000${kind}-0000-7000-8000-' || lpad((${n})::text, 12, '0'))::uuid`;
    const name = (n: string) => `'First' || ${n} % 199 || ' Last' || ${n} * 31 % 500`;
    const client = await t.db.pool.connect();
    try {
      await client.query(`SET synchronous_commit = off; SET maintenance_work_mem = '256MB'`);
      await client.query(indexes.map((index) => `DROP INDEX ${index.name}`).join(';'));
      await client.query(`
        ALTER TABLE organization_memberships DISABLE TRIGGER USER,
          DROP CONSTRAINT organization_memberships_organization_id_organizations_id_fk,
          DROP CONSTRAINT organization_memberships_user_id_users_id_fk;
        ALTER TABLE invitations DROP CONSTRAINT invitations_organization_id_organizations_id_fk;
        ALTER TABLE sessions DROP CONSTRAINT sessions_user_id_users_id_fk;
        ALTER TABLE api_keys DROP CONSTRAINT api_keys_organization_id_organizations_id_fk`);
      await client.query(`
        INSERT INTO users (id, email, name)
          SELECT ${id(1, 'n')}, 'user' || n || '@example.com', ${name('n')}
            FROM generate_series(0, ${USERS - 1}) n;
        INSERT INTO organizations (id, name, slug, created_at)
          SELECT ${id(0, 'n')}, 'Organization ' || n, 'organization-' || n, now() - n * interval '1 minute' FROM generate_series(1, ${ORGANIZATIONS - 1}) n;
        INSERT INTO organization_memberships (id, organization_id, user_id, role, user_name, created_at)
          SELECT ${id(2, 'n')}, '${big.id}', ${id(1, 'n')}, CASE WHEN n > ${BIG - 5} THEN 'admin' ELSE 'member' END::membership_role,
                 ${name('n')}, now() - (${BIG} - n) * interval '1 second'
            FROM generate_series(0, ${BIG - 1}) n;
        INSERT INTO organization_memberships (id, organization_id, user_id, role, user_name, created_at, deleted_at)
          SELECT ${id(3, 'o * 1000 + m')}, ${id(0, 'o')}, ${id(1, 'u')}, CASE WHEN m < 10 THEN 'admin' ELSE 'member' END::membership_role,
                 ${name('u')}, now() - m * interval '1 hour', CASE WHEN m % 20 = 19 THEN now() END
            FROM generate_series(1, ${ORGANIZATIONS - 1}) o, generate_series(0, 950) m, LATERAL (SELECT (o * 193 + m) % ${USERS} AS u) AS chosen;
        INSERT INTO invitations (id, organization_id, email, role, expires_at, status, created_at)
          SELECT ${id(4, 'n')}, CASE WHEN n % 2 = 0 THEN '${big.id}'::uuid ELSE ${id(0, 'n % 999 + 1')} END, 'invited' || n || '@example.com', 'member',
                 now() + interval '7 days', (ARRAY['accepted', 'accepted', 'accepted', 'pending', 'expired', 'declined', 'revoked'])[n / 2 % 7 + 1]::invitation_status,
                 now() - n * interval '1 second'
            FROM generate_series(1, 100000) n;
        INSERT INTO sessions (id, user_id, token, expires_at)
          SELECT ${id(5, 'n')}, ${id(1, 'n')}, 'token' || n, now() + interval '1 day' FROM generate_series(1, 50000) n;
        INSERT INTO api_keys (id, organization_id, created_by, name, prefix, hash, scopes)
          SELECT ${id(6, 'n')}, ${id(0, 'n % 999 + 1')}, ${id(1, 'n')}, 'k', 'p', 'hash' || n, '{}' FROM generate_series(1, 20000) n`);
      for (let n = 1; n <= 300; n += 1) {
        const organizationId = `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`;
        await addMember(t, organizationId, ada);
      }
      await client.query(
        `INSERT INTO invitations (id, organization_id, email, role, expires_at, invited_by) SELECT ${id(7, 'n')}, ${id(0, 'n')}, $1, 'member', now() + interval '7 days', ${id(1, `n * 193 % ${USERS}`)} FROM generate_series(400, 600) n`,
        [ada.email],
      );
      for (const { definition } of indexes) await client.query(definition);
      await client.query('ALTER TABLE organization_memberships ENABLE TRIGGER USER');
      for (const table of [...tables, 'organizations', 'sessions', 'api_keys']) await client.query(`VACUUM (ANALYZE) ${table}`);
      const { rows } = await client.query<{ count: number }>('SELECT count(*)::int AS count FROM organization_memberships');
      expect(rows[0]!.count).toBeGreaterThanOrEqual(1_000_000 - 100);
    } finally {
      client.release();
    }
  }
});

function nodesOf(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)];
}

/** Pages of 8 KiB, cached or read. */
function buffersOf(node: PlanNode): number {
  return node['Shared Hit Blocks'] + node['Shared Read Blocks'];
}

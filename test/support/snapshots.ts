import type { TestDatabase } from './database.js';

/** Columns that reads change. */
const VOLATILE: Record<string, string[]> = {
  api_keys: ['last_used_at'],
  sessions: ['last_used_at', 'updated_at', 'expires_at'],
};

interface Column {
  table: string;
  column: string;
}

/** The rows of every table that contain one of these ids, as text. Without verifications, because anyone may request a mail. */
export async function rowsNaming(db: TestDatabase, ids: string[], { exceptUserId }: { exceptUserId?: string } = {}): Promise<string> {
  const columns = (await columnsOf(db)).filter(({ table }) => table !== 'verifications');
  const queries = [...Map.groupBy(columns, ({ table }) => table)].flatMap(([table, ofTable]) => {
    const names = ofTable.map(({ column }) => column);
    const naming = ['id', 'organization_id', 'owner_id', 'user_id'].filter((name) => names.includes(name));
    if (naming.length === 0) return [];
    const conditions = [`(${naming.map((name) => `${name}::text = ANY ($1)`).join(' OR ')})`];
    if (names.includes('user_id')) conditions.push('user_id::text IS DISTINCT FROM $2');
    if (table === 'audit_log') conditions.push("action <> 'operator.read'");
    return [selectRows(table, conditions.join(' AND '))];
  });
  return JSON.stringify(await db.rows(queries.join(' UNION ALL '), [ids, exceptUserId ?? null]));
}

/** Everything that requests can write, as text; without rows of workers and schedules. */
export async function allRows(db: TestDatabase): Promise<string> {
  const tables = new Set((await columnsOf(db)).map(({ table }) => table));
  for (const table of ['rate_limits', 'job_runs', 'outbox', 'verifications']) tables.delete(table);
  const counted = [
    `SELECT 'outbox', count(*)::text FROM outbox`,
    `SELECT 'job_runs', count(*)::text FROM job_runs WHERE job = 'prune_job_runs'`,
  ];
  return JSON.stringify(await db.rows([...[...tables].map((table) => selectRows(table, 'true')), ...counted].join(' UNION ALL ')));
}

function selectRows(table: string, condition: string): string {
  const dropped = (VOLATILE[table] ?? []).map((column) => ` - '${column}'`).join('');
  return `SELECT '${table}', (SELECT json_agg(r ORDER BY r::text)::text FROM (SELECT to_jsonb(t)${dropped} AS r FROM ${table} t WHERE ${condition}) rows)`;
}

/** Partitions are read through their parent table. */
async function columnsOf(db: TestDatabase): Promise<Column[]> {
  return db.rows<Column>(
    `SELECT c.relname AS "table", a.attname AS "column"
       FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
      ORDER BY c.relname, a.attnum`,
  );
}

import type { PoolClient } from 'pg';
import type { TestDatabase } from '../support/database.js';

/** What a statement does with tables that a statement of another operation can notice, or notices itself. */
export interface Effects {
  /** Reads committed rows. */
  reads: string[];
  /** Takes or frees locks that keep foreign keys intact. Only other kinds of locks notice them. */
  keyLocks: string[];
  /** Takes or frees locks on rows, or on names. */
  locks: string[];
  /** Makes changes visible to others. */
  publishes: string[];
}

/**
 * Whether the order of two statements can matter. At READ COMMITTED a read never waits and does not see what another
 * transaction has not committed: its order matters to commits alone. Changes and locks also matter to each other.
 */
export function areDependent(one: Effects, other: Effects): boolean {
  return notices(one, other) || notices(other, one);
}

function notices(one: Effects, { reads, keyLocks, locks }: Effects): boolean {
  return shares(one.publishes, [...reads, ...keyLocks, ...locks]) || shares(one.locks, [...locks, ...keyLocks]);
}

const shares = (one: string[], other: string[]) => one.some((name) => other.includes(name));

/** Tables that a change of another table touches too: by foreign keys, of rows that are deleted, and by triggers. */
const TOUCHED = `
  SELECT conrelid::regclass::text AS changed, confrelid::regclass::text AS touched, 'parent' AS how FROM pg_constraint WHERE contype = 'f'
  UNION SELECT confrelid::regclass::text, conrelid::regclass::text, 'child' FROM pg_constraint WHERE contype = 'f'
  UNION SELECT tgrelid::regclass::text, c.oid::regclass::text,
      CASE WHEN prosrc ~* ('(update|insert into|delete from)\\s+(public\\.)?' || relname || '\\M') THEN 'write' ELSE 'read' END
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON p.prosrc ~ ('\\m' || c.relname || '\\M')
   WHERE NOT t.tgisinternal AND c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace`;

const LOCKED = `
  SELECT relation::regclass::text AS name, mode FROM pg_locks JOIN pg_class c ON c.oid = relation
   WHERE pid = pg_backend_pid() AND c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace`;

type Touched = { changed: string; touched: string; how: 'parent' | 'child' | 'read' | 'write' };

/** Asks PostgreSQL which tables statements touch, and how: it locks them when it prepares a statement. */
export class StatementEffects {
  private readonly known = new Map<string, Effects>();
  private touched?: Touched[];

  constructor(private readonly db: TestDatabase) {}

  /** Of a statement that is a transaction of its own. @param apart tables that do not count */
  async of(text: string, apart: readonly string[]): Promise<Effects> {
    const { reads, keyLocks, locks, publishes } = await this.find(text);
    const counts = (name: string) => !apart.includes(name);
    return {
      reads: reads.filter(counts),
      keyLocks: keyLocks.filter(counts),
      locks: locks.filter(counts),
      publishes: publishes.filter(counts),
    };
  }

  private async find(text: string): Promise<Effects> {
    let effects = this.known.get(text);
    if (effects === undefined) {
      this.touched ??= await this.db.rows<Touched>(TOUCHED);
      const client = await this.db.pool.connect();
      effects = await read(text, this.touched, client).finally(() => client.release());
      this.known.set(text, effects);
    }
    return effects;
  }
}

async function read(text: string, touched: Touched[], client: PoolClient): Promise<Effects> {
  await client.query('BEGIN');
  await client.query(`PREPARE statement AS ${text}`);
  const { rows } = await client.query<{ name: string; mode: string }>(LOCKED);
  await client.query('ROLLBACK; DEALLOCATE statement');
  const inMode = (wanted: string) => rows.filter(({ mode }) => mode === wanted).map(({ name }) => name);
  const written = inMode('RowExclusiveLock');
  const also = (how: Touched['how']) => touched.filter((one) => one.how === how && written.includes(one.changed)).map((one) => one.touched);
  const publishes = [...written, ...also('write'), ...(/\bdelete from\b/i.test(text) ? also('child') : [])];
  return {
    reads: [...inMode('AccessShareLock'), ...also('read')],
    keyLocks: also('parent'),
    locks: [...inMode('RowShareLock'), ...publishes, ...(text.includes('advisory') ? ['names'] : [])],
    publishes,
  };
}

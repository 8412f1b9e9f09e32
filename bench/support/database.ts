import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { startEmbeddedPostgres } from '../../src/platform/database/embedded/embedded-postgres.js';
import { migrate } from '../../src/platform/database/migrations.js';
import { type Build, buildOf, ownBuild } from './build.js';
import { options } from './options.js';
import { SESSIONS, USERS, ORGANIZATION_ID } from './seed.js';

export interface BenchDatabase {
  url: string;
  /** The build that uses this database. */
  build: Build;
  /** The database of the other build, on the same server. */
  before?: BenchDatabase;
  /** Temporary; logs are written here. */
  directory: string;
  query<T = Record<string, unknown>>(text: string): Promise<T[]>;
  /** CPU time of the PostgreSQL processes of our connections, in microseconds; undefined without /proc. */
  cpu(): Promise<number | undefined>;
  stop(): Promise<void>;
}

/** A PostgreSQL server, as durable as in production, with enough rows for indexes of some depth. */
export async function startDatabase(): Promise<BenchDatabase> {
  const own = await startServer(['max_connections=200', 'shared_buffers=256MB', 'max_wal_size=2GB']);
  let before: BenchDatabase | undefined;
  const stop = async () => {
    await before?.stop();
    await own.stop();
  };
  try {
    await fill(own);
    if (options.compare === undefined) return own;
    await own.query('CREATE DATABASE before');
    before = await openDatabase(new URL('/before', own.url).href, own.directory, buildOf(options.compare));
    await fill(before);
    return { ...own, before, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** An empty database of our build on a server of its own. */
export async function startServer(settings: string[]): Promise<BenchDatabase> {
  const directory = mkdtempSync(path.join(tmpdir(), 'tenantry-bench-'));
  // For root, PostgreSQL runs under its own account; without access it would put its data elsewhere and leave it there.
  chmodSync(directory, 0o711);
  const removeDirectory = () => rmSync(directory, { recursive: true, force: true });
  const server = await startEmbeddedPostgres({ directory: path.join(directory, 'postgres'), password: 'bench', settings }).catch(
    (error: unknown) => {
      removeDirectory();
      throw error;
    },
  );
  const database = await openDatabase(server.url, directory, ownBuild);
  const stop = async () => {
    await database.stop();
    await server.stop();
    removeDirectory();
  };
  return { ...database, stop };
}

async function fill(one: BenchDatabase): Promise<void> {
  await migrate(one.url, path.join(one.build.root, 'drizzle'));
  for (const text of [OUR_ROWS, BETTER_AUTH_ROWS, 'VACUUM ANALYZE']) await one.query(text);
}

/** Runs a statement in the databases of both builds. */
export async function inEach(db: BenchDatabase, text: string): Promise<void> {
  for (const one of [db, db.before]) await one?.query(text);
}

async function openDatabase(url: string, directory: string, build: Build): Promise<BenchDatabase> {
  const client = new pg.Client({ connectionString: url });
  // A server that ends early fails the next query, which ends the run cleanly.
  client.on('error', () => undefined);
  await client.connect();
  const query = async <T>(text: string) => (await client.query(text)).rows as T[];
  const stop = async () => {
    await client.end().catch(() => undefined);
    build.remove();
  };
  return { url, directory, build, query, cpu: () => databaseCpu(query), stop };
}

const OUR_ROWS = `
  INSERT INTO users (id, email, email_verified, email_verified_at, name, username, image_url)
  SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'person' || n || '@example.com', true, now(),
         'Person ' || n, 'person' || n, 'https://example.com/' || n || '.png'
    FROM generate_series(0, ${USERS - 1}) n;
  INSERT INTO sessions (id, user_id, token, expires_at, ip_address, user_agent)
  SELECT ('00000000-0000-7000-9000-' || lpad(n::text, 12, '0'))::uuid,
         ('00000000-0000-7000-8000-' || lpad((n % ${USERS})::text, 12, '0'))::uuid,
         rtrim(translate(encode(sha256(('bench-session-token-' || n)::bytea), 'base64'), '+/', '-_'), '='),
         now() + interval '7 days', '203.0.113.7', 'Mozilla/5.0 (X11; Linux x86_64)'
    FROM generate_series(0, ${SESSIONS - 1}) n;
  INSERT INTO organizations (id, name, slug) VALUES ('${ORGANIZATION_ID}', 'Everybody', 'everybody');
  INSERT INTO organization_memberships (id, organization_id, user_id, role, created_at)
  SELECT ('00000000-0000-7000-a000-' || right(id::text, 12))::uuid, '${ORGANIZATION_ID}', id, 'member',
         now() - right(id::text, 12)::int * interval '1 second'
    FROM users;`;

/** The same users in the tables that Better Auth's generator creates. */
const BETTER_AUTH_ROWS = `
  CREATE SCHEMA typical;
  CREATE TABLE typical."user" (id text PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, email_verified boolean NOT NULL,
    image text, created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp NOT NULL DEFAULT now());
  CREATE TABLE typical.session (id text PRIMARY KEY, expires_at timestamp NOT NULL, token text NOT NULL UNIQUE,
    created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp NOT NULL DEFAULT now(), ip_address text, user_agent text,
    user_id text NOT NULL REFERENCES typical."user" ON DELETE CASCADE);
  CREATE INDEX ON typical.session (user_id);
  INSERT INTO typical."user" (id, name, email, email_verified, image) SELECT id, name, email, true, image_url FROM users;
  INSERT INTO typical.session (id, expires_at, token, ip_address, user_agent, user_id)
  SELECT id, expires_at, 'bench-session-token-' || right(id::text, 12)::int, ip_address, user_agent, user_id FROM sessions;`;

async function databaseCpu(query: BenchDatabase['query']): Promise<number | undefined> {
  if (process.platform !== 'linux') return undefined;
  const backends = await query<{ pid: number }>(`SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'`);
  return backends.reduce((sum, { pid }) => sum + cpuOf(pid), 0);
}

/** utime and stime, fields 14 and 15, in ticks of 10 ms: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
function cpuOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10_000;
  } catch (error) {
    // The process ended after it was listed.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}

import { randomBytes } from 'node:crypto';
import { accessSync, chmodSync, constants, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';

const MEMORY = '/dev/shm';
/** Several times the memory that a whole run has used. */
const ENOUGH_BYTES = 4 * 2 ** 30;

/** Starts one server for the whole run, with one migrated template from which every test file's database is cloned. */
export default async function setUp(): Promise<void> {
  // Jest maps `src` to `dist` in tests, but not here.
  const dist = path.resolve('dist/platform/database');
  const { startEmbeddedPostgres } = (await import(
    `${dist}/embedded/embedded-postgres.js`
  )) as typeof import('../../src/platform/database/embedded/embedded-postgres.js');
  const { migrate } = (await import(`${dist}/migrations.js`)) as typeof import('../../src/platform/database/migrations.js');
  const { grantAppRole } = (await import(`${dist}/app-role.js`)) as typeof import('../../src/platform/database/app-role.js');
  let serverUrl = process.env['DATABASE_URL'];
  if (serverUrl === undefined) {
    const directory = makeDirectory();
    // For root, the server runs under its own account; without access it would have to be copied elsewhere.
    chmodSync(directory, 0o711);
    // Durability is not tested here; the tests that kill the server start their own.
    const settings = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'max_connections=300', 'scram_iterations=1'];
    const server = await startEmbeddedPostgres({ directory, password: 'test', settings });
    serverUrl = server.url;
    // Hashed anew with one iteration, because a test run connects thousands of times.
    await run(serverUrl, `ALTER ROLE CURRENT_USER PASSWORD 'test'`);
    (globalThis as Record<string, unknown>)['stopPostgres'] = async () => {
      await server.stop();
      for (const one of [directory, server.directory]) rmSync(one, { recursive: true, force: true });
    };
  }
  const url: string = serverUrl;
  const template = `tenantry_template_${process.pid}`;
  await run(url, `CREATE DATABASE ${template}`);
  await migrate(withDatabase(url, template));
  const role = `tenantry_test_app_${process.pid}`;
  const password = randomBytes(12).toString('hex');
  await grantAppRole(withDatabase(url, template), role);
  await run(url, `ALTER ROLE ${role} PASSWORD '${password}'`);
  process.env['TEST_APP_URL'] = Object.assign(new URL(url), { username: role, password }).href;
  process.env['TEST_SERVER_URL'] = url;
  process.env['TEST_TEMPLATE'] = template;
  delete process.env['DATABASE_URL'];
}

async function run(connectionString: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  await client.query(statement);
  await client.end();
}

/** A folder with this process's id in its name; folders of interrupted runs are removed. */
function makeDirectory(): string {
  const folder = findFolder();
  for (const name of readdirSync(folder)) {
    const [, pid] = /^tenantry-test-(\d+)-/.exec(name) ?? [];
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(path.join(folder, name), { recursive: true, force: true });
  }
  return mkdtempSync(path.join(folder, `tenantry-test-${process.pid}-`));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // The process belongs to another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** In memory if there is enough, because creating and dropping databases is mostly file access. */
function findFolder(): string {
  try {
    accessSync(MEMORY, constants.W_OK);
    const { bavail, bsize } = statfsSync(MEMORY);
    if (bavail * bsize > ENOUGH_BYTES) return MEMORY;
  } catch {
    // Not every system has it.
  }
  return tmpdir();
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

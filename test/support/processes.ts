import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '../../src/platform/database/embedded/free-port.js';
import { testEnvironment } from './app.js';
import { until as untilSo } from './until.js';

/** The compile cache saves a third of the start time. */
const COMPILE_CACHE = path.resolve('node_modules/.cache/tenantry-compile');

export const QUICK_IMPORTS = new URL('./quick-imports.mjs', import.meta.url).href;

interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** The built program in its own process group. */
export interface Process {
  pid: number;
  url: string;
  /** Everything that it has printed. */
  output(): string;
  /** Its log as objects, without lines that are not JSON. */
  log(): Record<string, unknown>[];
  /** Sends a signal to this process only. */
  kill(signal: NodeJS.Signals): void;
  /** Sends a signal to its process group, like Ctrl-C in a terminal. */
  killGroup(signal: NodeJS.Signals): void;
  ended: Promise<Ended>;
  hasEnded(): boolean;
}

interface Options {
  /** The complete environment except PATH and HOME. */
  env?: Record<string, string>;
  cwd?: string;
  /** Runs it as this user. */
  uid?: number;
  gid?: number;
}

const started = new Set<{ process: Process; child: ChildProcess }>();

/** Kills every process that is still running when the test run is interrupted. */
process.once('exit', () => {
  for (const one of started) if (!one.process.hasEnded()) one.process.killGroup('SIGKILL');
});

/** Kills the processes that were started here; for `afterEach`. */
export async function endProcesses(): Promise<void> {
  for (const { process: one } of started) {
    if (!one.hasEnded()) one.killGroup('SIGKILL');
    await one.ended;
  }
  started.clear();
}

export function run(program: 'main.js' | 'cli/cli.js', args: string[] = [], { env = {}, cwd, uid, gid }: Options = {}): Process {
  const child = spawn(process.execPath, ['--import', QUICK_IMPORTS, path.join(cwd ?? '.', 'dist', program), ...args], {
    cwd,
    uid,
    gid,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], NODE_COMPILE_CACHE: COMPILE_CACHE, ...env },
  });
  const pid = child.pid!;
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (printed += text));
  const ended = new Promise<Ended>((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));
  const kill = (target: number, signal: NodeJS.Signals) => {
    try {
      process.kill(target, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  };
  const one: Process = {
    pid,
    url: `http://127.0.0.1:${env['PORT'] ?? 3000}`,
    output: () => printed,
    log: () => printed.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Record<string, unknown>] : [])),
    kill: (signal) => kill(pid, signal),
    killGroup: (signal) => kill(-pid, signal),
    ended,
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
  };
  started.add({ process: one, child });
  return one;
}

/** Runs a command to its end. */
export async function runCommand(args: string[], options: Options = {}): Promise<{ code: number | null; output: string }> {
  const command = run('cli/cli.js', args, options);
  const { code } = await command.ended;
  return { code, output: command.output() };
}

/** Starts a server on a free port, and does not wait until it is ready. */
export async function startServer(databaseUrl: string, env: Record<string, string> = {}): Promise<Process> {
  return run('main.js', [], {
    env: { ...testEnvironment(databaseUrl), LOG_LEVEL: 'info', PORT: String(await freePort()), ...env },
  });
}

/** Waits until a process is ready; one that ends instead fails the test with its output. */
export async function ready(one: Process): Promise<Process> {
  await until('the process is ready', async () => {
    if (one.hasEnded()) throw new Error(`The process ended: ${one.output()}`);
    return (await statusOf(`${one.url}/health/ready`)) === 200;
  });
  return one;
}

/** The status of a response; undefined when nothing listens. */
export async function statusOf(url: string): Promise<number | undefined> {
  try {
    const answer = await fetch(url, { headers: { connection: 'close' }, signal: AbortSignal.timeout(10_000) });
    await answer.text();
    return answer.status;
  } catch {
    return undefined;
  }
}

/** Polls until the condition is truthy, and returns its value. */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  { withinMs = 60_000 } = {},
): Promise<Exclude<T, undefined | false>> {
  return untilSo(condition, () => what, withinMs);
}

/** The processes that have this folder in their command line. */
export function processesIn(folder: string): number[] {
  if (existsSync('/proc/self/cmdline')) {
    return readdirSync('/proc').flatMap((name) => {
      try {
        return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(folder) ? [Number(name)] : [];
      } catch {
        // The process has ended meanwhile.
        return [];
      }
    });
  }
  const lines = execFileSync('ps', ['-axww', '-o', 'pid=,args='], { encoding: 'utf8' }).split('\n');
  return lines.filter((line) => line.includes(folder)).map((line) => parseInt(line));
}

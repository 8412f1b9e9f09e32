import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { testEnvironment } from './app.js';
import { until as untilSo } from './until.js';

/** A third of what a start costs is compiling the same modules again. */
const COMPILE_CACHE = path.resolve('node_modules/.cache/tenantry-compile');

export const QUICK_IMPORTS = new URL('./quick-imports.mjs', import.meta.url).href;

interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** The program as it ships, in a process group of its own. */
export interface Process {
  pid: number;
  url: string;
  /** Everything it has printed so far. */
  output(): string;
  /** Its log as objects; prints that are no JSON are left out. */
  log(): Record<string, unknown>[];
  /** Sends a signal to it alone. */
  kill(signal: NodeJS.Signals): void;
  /** Sends a signal to it and what it started in its group, as the terminal does for Ctrl-C. */
  killGroup(signal: NodeJS.Signals): void;
  ended: Promise<Ended>;
  hasEnded(): boolean;
}

interface Options {
  /** The whole environment but for PATH and HOME. */
  env?: Record<string, string>;
  cwd?: string;
  /** Runs it as this user. */
  uid?: number;
  gid?: number;
}

const started = new Set<{ process: Process; child: ChildProcess }>();

/** What is still running when the test run breaks off must go too. */
process.once('exit', () => {
  for (const one of started) if (!one.process.hasEnded()) one.process.killGroup('SIGKILL');
});

/** Ends exactly what was started here, however its test went: for `afterEach`. */
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

/** A server process over a database of the test's, on a free port, not yet ready. */
export async function startServer(databaseUrl: string, env: Record<string, string> = {}): Promise<Process> {
  return run('main.js', [], {
    env: { ...testEnvironment(databaseUrl), LOG_LEVEL: 'info', PORT: String(await freePort()), ...env },
  });
}

/** Waits until it is ready to serve; a process that ends instead fails the test with what it printed. */
export async function ready(one: Process): Promise<Process> {
  await until('the process is ready', async () => {
    if (one.hasEnded()) throw new Error(`The process ended: ${one.output()}`);
    return (await statusOf(`${one.url}/health/ready`)) === 200;
  });
  return one;
}

/** The status of an answer; undefined when nobody answers. */
export async function statusOf(url: string): Promise<number | undefined> {
  try {
    const answer = await fetch(url, { headers: { connection: 'close' }, signal: AbortSignal.timeout(10_000) });
    await answer.text();
    return answer.status;
  } catch {
    return undefined;
  }
}

/** Polls until the condition holds and answers what it gave. */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  { withinMs = 60_000 } = {},
): Promise<Exclude<T, undefined | false>> {
  return untilSo(condition, () => what, withinMs);
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** The processes whose command line mentions this folder. */
export function processesIn(folder: string): number[] {
  if (existsSync('/proc/self/cmdline')) {
    return readdirSync('/proc').flatMap((name) => {
      try {
        return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(folder) ? [Number(name)] : [];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
  }
  const lines = execFileSync('ps', ['-axww', '-o', 'pid=,args='], { encoding: 'utf8' }).split('\n');
  return lines.filter((line) => line.includes(folder)).map((line) => parseInt(line));
}

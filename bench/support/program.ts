import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../src/platform/database/embedded/free-port.js';
import type { Question, Usage, Work } from './variant.js';
import type { BenchDatabase } from './database.js';
import { AUTH_SECRET } from './seed.js';

const START_WITHIN_MS = 60_000;

/** A process under measurement. */
export class Program {
  readonly child: ChildProcess;
  readonly url: string;
  /** The same program of the other build. */
  readonly before?: Program;

  constructor(child: ChildProcess, url: string, before?: Program) {
    this.child = child;
    this.url = url;
    this.before = before;
  }

  usage(): Promise<Usage> {
    return this.ask<Usage>({ ask: 'usage' });
  }

  work(milliseconds: number): Promise<Work> {
    return this.ask<Work>({ ask: 'work', milliseconds });
  }

  async stop(): Promise<void> {
    await this.before?.stop();
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    const late = setTimeout(() => this.child.kill('SIGKILL'), 5000);
    await exit;
    clearTimeout(late);
  }

  private async ask<T>(question: Question): Promise<T> {
    this.child.send(question);
    return answer<T>(this.child);
  }
}

/** Starts the programs of a benchmark, which are stopped at its end. */
export interface Starter {
  variant(name: string, given?: Record<string, unknown>): Promise<Program>;
  /** An operation of `variants/operation.ts`, without a server. */
  operation(name: string): Promise<Program>;
  tenantry(options?: TenantryOptions): Promise<Program>;
}

export interface TenantryOptions {
  /** Modules to load before `dist/main.js`, by their path in the repository. */
  preload?: string[];
  environment?: Record<string, string>;
  /** Others are compared with it, so there is no need to run that of the other build. */
  isBaseline?: boolean;
}

export async function withPrograms(db: BenchDatabase, work: (start: Starter) => Promise<void>): Promise<void> {
  const started: Program[] = [];
  const keep = async (starting: Promise<Program>) => {
    const program = await starting;
    started.push(program);
    return program;
  };
  try {
    await work({
      variant: (name, given) => keep(startVariant(name, db, given)),
      operation: (operation) => keep(startVariant('operation', db, { operation })),
      tenantry: (options) => keep(startTenantry(db, options)),
    });
  } finally {
    await Promise.all(started.map((program) => program.stop()));
  }
}

/** Starts one of `bench/variants/`. */
async function startVariant(name: string, db: BenchDatabase, given: Record<string, unknown> = {}): Promise<Program> {
  const child = run(`bench/variants/${name}.ts`, db, [JSON.stringify({ databaseUrl: db.url, ...given })]);
  const { port } = await answer<{ port?: number }>(child);
  return new Program(child, `http://127.0.0.1:${port}`);
}

/** Starts the real program, `dist/main.js`, in production: every feature on, a request log in a file, high limits. */
async function startTenantry(db: BenchDatabase, tenantry: TenantryOptions = {}): Promise<Program> {
  const { preload, environment, isBaseline = false } = tenantry;
  const before = db.before === undefined || isBaseline ? undefined : await startTenantry(db.before, tenantry);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = run('dist/main.js', db, [], preload, {
    NODE_ENV: 'production',
    HOST: '127.0.0.1',
    PORT: String(port),
    PUBLIC_URL: url,
    DATABASE_URL: db.url,
    AUTH_SECRET,
    ENCRYPTION_KEYS: `bench:${Buffer.alloc(32, 7).toString('base64')}`,
    RATE_LIMIT_API: '1000000/60',
    RATE_LIMIT_AUTH: '1000000/60',
    SHUTDOWN_DELAY_SECONDS: '0',
    ...environment,
  });
  for (const start = performance.now(); performance.now() - start < START_WITHIN_MS && child.exitCode === null; await sleep(10)) {
    const answered = await fetch(`${url}/health/ready`).catch(() => undefined);
    if (answered?.ok === true) return new Program(child, url, before);
  }
  child.kill('SIGKILL');
  throw new Error(`dist/main.js did not start: ${readFileSync(path.join(db.directory, 'output.log'), 'utf8').slice(-2000)}`);
}

function run(file: string, db: BenchDatabase, given: string[], preload: string[] = [], environment: Record<string, string> = {}) {
  const log = openSync(path.join(db.directory, 'output.log'), 'a');
  const ownFiles = file.endsWith('.ts') || preload.length > 0;
  const { root } = db.build;
  const imports = [...(ownFiles ? ['bench/support/resolve.mjs'] : []), 'bench/support/measured-process.mjs', ...preload];
  const child = fork(path.join(root, file), given, {
    cwd: db.directory,
    env: { NODE_ENV: 'production', ...environment },
    execArgv: ['--no-warnings', ...nodeOptionsOf(root), ...imports.flatMap((name) => ['--import', path.join(root, name)])],
    stdio: ['ignore', log, log, 'ipc'],
  });
  closeSync(log);
  return child;
}

/** The options of Node in `npm run start:prod`. */
function nodeOptionsOf(root: string): string[] {
  const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
  return scripts['start:prod']!.split(' ').filter((word) => word.startsWith('--'));
}

async function answer<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const died = () => reject(new Error(`${path.basename(child.spawnargs.at(-2) ?? '')} ended early`));
    child.once('exit', died);
    child.once('message', (message) => {
      child.off('exit', died);
      resolve(message as T);
    });
  });
}

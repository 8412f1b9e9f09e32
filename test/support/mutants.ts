import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { onServer, type TestDatabase } from './database.js';
import type { Mutation } from './mutations.js';
import { QUICK_IMPORTS } from './processes.js';
import { compileMutated } from './sources.js';

const DIST = path.resolve('dist');
const BUILD = readdirSync(DIST, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'));

/** One mutation, or the unchanged build. */
export type Change = Mutation | 'unchanged';

/** A folder with builds that have one mutation each. */
export class MutantBuilds {
  private readonly directory = mkdtempSync(path.resolve('.mutants-'));
  private count = 0;

  constructor() {
    writeFileSync(path.join(this.directory, 'package.json'), '{ "type": "module" }');
    for (const name of ['node_modules', 'drizzle', 'plans.json']) symlinkSync(path.resolve(name), path.join(this.directory, name));
  }

  /** Returns the folder of the build with this mutation. */
  make(change: Change): string {
    this.count += 1;
    const dist = path.join(this.directory, `dist-${this.count}`);
    for (const file of BUILD) link(file, dist);
    if (change !== 'unchanged') {
      const { file, text } = compileMutated(change);
      // Remove the link first, because writing through it would change the build itself.
      rmSync(path.join(dist, file));
      writeFileSync(path.join(dist, file), text);
    }
    return dist;
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A process that runs builds with one mutation. */
export class MutantHost {
  private readonly builds = new MutantBuilds();
  private readonly child: ChildProcess = fork(new URL('./mutant-host.ts', import.meta.url), {
    execArgv: ['--no-warnings', '--import', QUICK_IMPORTS],
  });

  /** Starts the build with this mutation, and returns its URL. */
  async start(change: Change, environment: Record<string, string>): Promise<string> {
    const { url } = await this.ask<{ url: string }>({ dist: this.builds.make(change), environment });
    return url;
  }

  async stop(): Promise<void> {
    await this.ask({ close: true });
  }

  async end(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('close', resolve));
    this.child.kill('SIGKILL');
    await ended;
    this.builds.remove();
  }

  private async ask<T>(order: object): Promise<T> {
    return new Promise((resolve, reject) => {
      const left = (code: number | null) => reject(new Error(`The process with the mutants ended with ${code}`));
      this.child.once('exit', left);
      this.child.once('message', (answer: { error?: string }) => {
        this.child.off('exit', left);
        if (answer.error === undefined) resolve(answer as T);
        else reject(new Error(answer.error));
      });
      this.child.send(order);
    });
  }
}

/** A copy of a database without connections. */
export async function copyOf(original: TestDatabase): Promise<TestDatabase> {
  const name = `tenantry_test_${randomBytes(6).toString('hex')}`;
  const url = new URL(original.url);
  await onServer(`CREATE DATABASE ${name} TEMPLATE ${url.pathname.slice(1)}`);
  url.pathname = `/${name}`;
  const pool = new pg.Pool({ connectionString: url.href, max: 2 });
  pool.on('error', () => undefined);
  return {
    url: url.href,
    pool,
    rows: async <T>(text: string, values?: unknown[]) => (await pool.query(text, values)).rows as T[],
    drop: async () => {
      await pool.end();
      await onServer(`DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

/** Links instead of copying, because each mutant has hundreds of files. */
function link(name: string, dist: string): void {
  mkdirSync(path.dirname(path.join(dist, name)), { recursive: true });
  linkSync(path.join(DIST, name), path.join(dist, name));
}

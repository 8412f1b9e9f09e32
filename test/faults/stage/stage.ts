import path from 'node:path';
import type { Build } from '../../../bench/support/build.js';
import { grantAppRole } from '../../../src/platform/database/app-role.js';
import { freePort } from '../../../src/platform/database/embedded/free-port.js';
import { migrate } from '../../../src/platform/database/migrations.js';
import { testEnvironment } from '../../support/app.js';
import { asAppRole, createEmptyDatabase, createTestDatabase, type TestDatabase } from '../../support/database.js';
import { startMailServer } from '../../support/mails.js';
import { PlanFile } from '../../support/plan-file.js';
import { endProcesses, type Process, ready, run, runCommand } from '../../support/processes.js';
import { startBalancer, type Balancer } from './balancer.js';
import type { FaultyPostgres } from './postgres.js';
import { Providers } from './providers.js';

/** The hard limit of an organization that pays nothing. */
export const CAP = 10_000;

const SHIFTED_CLOCK = new URL('../../support/shifted-clock.mjs', import.meta.url).href;

export type Version = 'old' | 'new';

export interface StageOptions {
  /** How far the clock of each process of the new version is ahead. */
  clockShiftsMs: number[];
  /** With it, all processes and the database begin with that version. */
  old?: Build;
}

/** PostgreSQL, processes behind a balancer, the providers, and a mail server. */
export class Stage {
  readonly processes: Process[] = [];
  /** The version of each process. */
  readonly versions: Version[];
  readonly mailed: string[] = [];
  private mailServer?: Awaited<ReturnType<typeof startMailServer>>;
  private readonly plans = new PlanFile({ free: { tokensPerPeriod: CAP } });

  private constructor(
    readonly postgres: FaultyPostgres,
    readonly db: TestDatabase,
    readonly providers: Providers,
    readonly balancer: Balancer,
    private readonly ports: number[],
    private readonly mailPort: number,
    private readonly options: StageOptions,
  ) {
    this.versions = ports.map(() => (options.old === undefined ? 'new' : 'old'));
  }

  static async open(postgres: FaultyPostgres, options: StageOptions): Promise<Stage> {
    const db = await (options.old === undefined ? createTestDatabase() : createOldDatabase(options.old));
    const [mailPort, ...ports] = await Promise.all(Array.from({ length: 1 + options.clockShiftsMs.length }, freePort));
    const stage = new Stage(postgres, db, await Providers.start(), await startBalancer(ports), ports, mailPort!, options);
    await stage.startMails();
    await Promise.all(ports.map(async (_, index) => stage.start(index)));
    return stage;
  }

  /** Starts a process, again if it was killed, and waits until it is ready. */
  async start(index: number): Promise<void> {
    const faulty = Object.assign(new URL(asAppRole(this.db.url)), { port: String(this.postgres.network.port) });
    const isOld = this.versions[index] === 'old';
    // An old version need not know the database's time yet.
    const shift = isOld ? 0 : this.options.clockShiftsMs[index]!;
    // As in `npm run start:prod`.
    const nodeOptions = ['--max-semi-space-size=16', ...(shift === 0 ? [] : [`--import ${SHIFTED_CLOCK}`])];
    const env = {
      ...this.environment,
      NODE_OPTIONS: nodeOptions.join(' '),
      CLOCK_SHIFT_MS: String(shift),
      DATABASE_URL: faulty.href,
      PORT: String(this.ports[index]),
    };
    const process = run('main.js', [], { env, cwd: isOld ? this.options.old!.root : undefined });
    this.processes[index] = process;
    await ready(process);
  }

  async startMails(): Promise<void> {
    this.mailServer = await startMailServer({ port: this.mailPort });
  }

  async stopMails(): Promise<void> {
    this.mailed.push(...(this.mailServer?.mails ?? []).map(({ to }) => to));
    await this.mailServer?.close();
    this.mailServer = undefined;
  }

  /** `npm run cli -- …` of the new version, to its end. */
  async command(...args: string[]): Promise<{ code: number | null; output: string }> {
    return runCommand(args, { env: this.environment });
  }

  /** As `command`, but does not wait. */
  startCommand(...args: string[]): Process {
    return run('cli/cli.js', args, { env: this.environment });
  }

  async close(): Promise<void> {
    await endProcesses();
    await this.stopMails();
    await Promise.all([this.balancer.close(), this.providers.close()]);
    this.plans.remove();
    await this.db.drop();
  }

  private get environment(): Record<string, string> {
    return {
      ...testEnvironment(this.db.url),
      NODE_ENV: 'production',
      LOG_LEVEL: 'error',
      PLANS_FILE: path.resolve(this.plans.path),
      SMTP_URL: `smtp://127.0.0.1:${this.mailPort}`,
      ...this.providers.environment,
    };
  }
}

async function createOldDatabase({ root }: Build): Promise<TestDatabase> {
  const db = await createEmptyDatabase();
  await migrate(db.url, path.join(root, 'drizzle'));
  await grantAppRole(db.url, new URL(process.env['TEST_APP_URL']!).username);
  return db;
}

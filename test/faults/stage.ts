import path from 'node:path';
import { freePort } from '../../src/platform/database/embedded/free-port.js';
import { PolarAccount } from '../simulators/polar-account.js';
import { startPolarApiSimulator } from '../simulators/polar-api.js';
import { asAppRole, createTestDatabase, type TestDatabase } from '../support/database.js';
import { BILLING_PRODUCTS, addProducts } from '../support/billing/billing-products.js';
import { polarEnvironment } from '../support/billing/billing-clients.js';
import { DodoAccount } from '../simulators/dodo-account.js';
import { CLERK_WEBHOOK_SECRET as SECRET } from '../support/clerk/clerk-events.js';
import { startMailServer } from '../support/mails.js';
import { PlanFile } from '../support/plan-file.js';
import { endProcesses, type Process, ready, runCommand, startServer } from '../support/processes.js';
import { testEnvironment } from '../support/app.js';
import { startBalancer, type Balancer } from './balancer.js';
import type { FaultyPostgres } from './postgres.js';

/** The hard limit of an organization that pays nothing. */
export const CAP = 10_000;

/** PostgreSQL, three processes behind a balancer, Polar, and a mail server. */
export class Stage {
  readonly processes: Process[] = [];
  readonly mailed: string[] = [];
  private mailServer?: Awaited<ReturnType<typeof startMailServer>>;

  private constructor(
    readonly postgres: FaultyPostgres,
    readonly db: TestDatabase,
    readonly polar: PolarAccount,
    readonly balancer: Balancer,
    private readonly ports: number[],
    private readonly mailPort: number,
    private readonly environment: Record<string, string>,
    private readonly closeOthers: () => Promise<void>,
  ) {}

  static async open(postgres: FaultyPostgres, processes: number): Promise<Stage> {
    const db = await createTestDatabase();
    const clock = { now: () => new Date() };
    const polar = new PolarAccount({ clock, seed: 'faults' });
    addProducts({ polar, dodo: new DodoAccount({ clock, seed: 'faults' }) });
    const api = await startPolarApiSimulator({ account: polar });
    const plans = new PlanFile({ free: { tokensPerPeriod: CAP } });
    const [mailPort, ...ports] = await Promise.all(Array.from({ length: 1 + processes }, freePort));
    const environment = {
      NODE_ENV: 'production',
      // As in `npm run start:prod`.
      NODE_OPTIONS: '--max-semi-space-size=16',
      LOG_LEVEL: 'error',
      PLANS_FILE: path.resolve(plans.path),
      CLERK_WEBHOOK_SIGNING_SECRET: SECRET,
      POLAR_WEBHOOK_SECRET: SECRET,
      BILLING_PRODUCTS: BILLING_PRODUCTS.split(',')
        .filter((one) => one.startsWith('polar:'))
        .join(','),
      SMTP_URL: `smtp://127.0.0.1:${mailPort}`,
      ...polarEnvironment(api),
    };
    const balancer = await startBalancer(ports);
    const closeOthers = async () => {
      await Promise.all([balancer.close(), api.close()]);
      plans.remove();
      await db.drop();
    };
    const stage = new Stage(postgres, db, polar, balancer, ports, mailPort!, environment, closeOthers);
    await stage.startMails();
    await Promise.all(ports.map(async (_, index) => stage.start(index)));
    return stage;
  }

  /** Starts a process, again if it was killed, and waits until it is ready. */
  async start(index: number): Promise<void> {
    const faulty = Object.assign(new URL(asAppRole(this.db.url)), { port: String(this.postgres.network.port) });
    const port = String(this.ports[index]);
    const process = await startServer(this.db.url, { ...this.environment, DATABASE_URL: faulty.href, PORT: port });
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

  /** `npm run cli -- verify` */
  async verify(): Promise<{ code: number | null; output: string }> {
    return runCommand(['verify'], { env: { ...testEnvironment(this.db.url), ...this.environment } });
  }

  async close(): Promise<void> {
    await endProcesses();
    await this.stopMails();
    await this.closeOthers();
  }
}

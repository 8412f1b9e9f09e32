import { testEnvironment } from './app.js';
import { type Message, deliverConcurrently, untilProcessed, type Target } from './clerk/clerk-deliveries.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import type { Change, MutantHost } from './mutants.js';
import { endProcesses, type Process, ready, startServer } from './processes.js';
import { skipJob } from './tenant-world.js';

/** The number of kills in one run of histories. */
const KILLS = 4;

/** Starts databases and servers for a proof, and ends them with it. */
export class Targets {
  private readonly databases: TestDatabase[] = [];

  /** @param environment of every server */
  constructor(private readonly environment: Record<string, string>) {}

  async end(): Promise<void> {
    await endProcesses();
    for (const db of this.databases.splice(0)) await db.drop();
  }

  async newDatabase(): Promise<TestDatabase> {
    const db = await createTestDatabase();
    this.databases.push(db);
    // Scheduled purges would change the rows to compare.
    for (const job of ['purge_users', 'purge_organizations']) await skipJob(db, job, 3600);
    return db;
  }

  /** Starts servers on one database. */
  async start(count: number, environment = {}): Promise<Target> {
    const db = await this.newDatabase();
    const servers = await Promise.all(Array.from({ length: count }, async () => this.startServer(db, environment)));
    return { db, urls: () => servers.map(({ url }) => url) };
  }

  /** Starts two servers, one of which is repeatedly killed and replaced during deliveries. */
  async startWithKills(): Promise<Target & { deliverConcurrently: (deliveries: Message[]) => Promise<void> }> {
    const db = await this.newDatabase();
    const servers: Process[] = await Promise.all([this.startServer(db), this.startServer(db)]);
    const target: Target = { db, urls: () => servers.map(({ url }) => url), mayFail: true };
    const deliverAndKill = async (deliveries: Message[]) => {
      const part = Math.ceil(deliveries.length / KILLS);
      for (let first = 0; first < deliveries.length; first += part) {
        await deliverConcurrently(target, deliveries.slice(first, first + part));
        // Processing is slower than delivery, so the server is in the middle of it.
        servers.shift()!.kill('SIGKILL');
        servers.push(await this.startServer(db));
      }
      await untilProcessed(target);
    };
    return { ...target, deliverConcurrently: deliverAndKill };
  }

  /** Runs some work against a build with one mutation. */
  async onMutant<T>(host: MutantHost, change: Change, db: TestDatabase, work: (target: Target) => Promise<T>): Promise<T> {
    const url = await host.start(change, { ...testEnvironment(db.url), ...this.environment });
    try {
      return await work({ db, urls: () => [url], mayFail: change !== 'unchanged' });
    } finally {
      await host.stop();
    }
  }

  private async startServer(db: TestDatabase, environment = {}): Promise<Process> {
    return ready(await startServer(db.url, { ...this.environment, ...environment }));
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { asAppRole, whileLocked } from '../support/database.js';
import { until } from '../support/until.js';
import type { ScheduledFault } from './schedule.js';
import type { Stage, Version } from './stage/stage.js';

type FaultKind = ScheduledFault['kind'];

/** A fault that has happened; `overAt` is the moment from which everything should work again. */
export interface Injected {
  kind: FaultKind;
  overAt: number;
  /** How long a process took to be ready again. */
  readyMs?: number;
}

const TERMINATE = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'tenantry'`;

const MIGRATING = `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tenantry-migrate'`;

/** Makes faults happen, one after the other. */
export class Injector {
  /** @param reconcile starts the comparisons with the providers */
  constructor(
    private readonly stage: Stage,
    private readonly seed: string,
    private readonly reconcile: () => Promise<void>,
  ) {}

  async inject({ kind, lastsMs, victim }: ScheduledFault): Promise<Injected> {
    const readyMs = await this.faults[kind](lastsMs, victim);
    return { kind, overAt: performance.now() - (readyMs ?? 0), ...(readyMs !== undefined && { readyMs }) };
  }

  private readonly faults: Record<FaultKind, (lastsMs: number, victim: number) => Promise<number | void>> = {
    'kill -9': async (_, victim) => this.kill(victim),
    'freeze a process': async (lastsMs, victim) => {
      const process = this.stage.processes[victim]!;
      process.kill('SIGSTOP');
      // In a long run mostly longer than the lease of a job, so that another process takes its work over.
      await sleep(lastsMs * 3);
      process.kill('SIGCONT');
    },
    'restart PostgreSQL (fast)': async () => this.stage.postgres.restart('fast'),
    'restart PostgreSQL (immediate)': async () => this.stage.postgres.restart('immediate'),
    'terminate connections': async () => {
      for (let count = 0; count < 3; count += 1) {
        await this.stage.db.rows(TERMINATE);
        await sleep(300);
      }
    },
    'exhaust connections': async (lastsMs) => this.exhaust(lastsMs),
    'freeze PostgreSQL': async (lastsMs) => {
      this.stage.postgres.freeze('SIGSTOP');
      await sleep(lastsMs);
      this.stage.postgres.freeze('SIGCONT');
    },
    'delay the network': async (lastsMs) => {
      this.stage.postgres.network.delay(200);
      await sleep(lastsMs);
      await this.stage.postgres.network.resume();
    },
    'swallow the network, then reset it': async (lastsMs) => {
      const { network } = this.stage.postgres;
      network.pause();
      await sleep(lastsMs);
      await network.cut();
      await network.resume();
    },
    'cut the network': async (lastsMs) => {
      await this.stage.postgres.network.cut();
      await sleep(lastsMs);
      await this.stage.postgres.network.resume();
    },
    'fail the mail server': async (lastsMs) => {
      await this.stage.stopMails();
      await sleep(lastsMs);
      await this.stage.startMails();
    },
    'fail the APIs of the providers': async (lastsMs) => {
      this.stage.providers.fail(this.seed);
      await Promise.all([sleep(lastsMs), this.reconcile()]);
      this.stage.providers.recover();
    },
    'apply the new migrations': async () => this.migrate(),
    'roll to the new version': async (_, victim) => this.roll(victim, 'new'),
    'roll back to the old version': async (_, victim) => this.roll(victim, 'old'),
  };

  /** The first attempt is killed in its middle: an open transaction keeps it there. */
  private async migrate(): Promise<void> {
    const { db } = this.stage;
    const tables = await db.rows<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = 'public'`,
    );
    const lock = `LOCK TABLE ${tables.map(({ name }) => name).join(', ')} IN ROW EXCLUSIVE MODE`;
    await whileLocked(db, [lock], async () => {
      const attempt = this.stage.startCommand('db', 'migrate');
      await until(async () => (await db.rows(`${MIGRATING} AND wait_event_type = 'Lock'`)).length > 0);
      attempt.kill('SIGKILL');
      await db.rows(`SELECT pg_terminate_backend(pid) FROM (${MIGRATING}) migrating`);
    });
    const { code, output } = await this.stage.command('db', 'migrate');
    if (code !== 0) throw new Error(`db migrate exits with ${code}: ${output}`);
  }

  private async roll(victim: number, version: Version): Promise<number> {
    const process = this.stage.processes[victim]!;
    const stoppedAt = performance.now();
    process.kill('SIGTERM');
    await process.ended;
    this.stage.versions[victim] = version;
    await this.stage.start(victim);
    return performance.now() - stoppedAt;
  }

  private async kill(victim: number): Promise<number> {
    const process = this.stage.processes[victim]!;
    const killedAt = performance.now();
    process.kill('SIGKILL');
    await process.ended;
    await this.stage.start(victim);
    return performance.now() - killedAt;
  }

  /** Takes every connection that the application could get. */
  private async exhaust(lastsMs: number): Promise<void> {
    const taken: pg.Client[] = [];
    const end = performance.now() + lastsMs;
    await this.stage.db.rows(TERMINATE);
    while (performance.now() < end) {
      const client = new pg.Client({ connectionString: asAppRole(this.stage.db.url), connectionTimeoutMillis: 1000 });
      client.on('error', () => undefined);
      try {
        await client.connect();
        taken.push(client);
      } catch {
        // No connection is left.
        await client.end().catch(() => undefined);
        await sleep(50);
      }
    }
    await Promise.all(taken.map((client) => client.end().catch(() => undefined)));
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { asAppRole } from '../support/database.js';
import type { FaultKind, ScheduledFault } from './schedule.js';
import type { Stage } from './stage.js';

/** A fault that has happened; `overAt` is the moment from which everything should work again. */
export interface Injected {
  kind: FaultKind;
  overAt: number;
  /** How long a killed process took to be ready again. */
  readyMs?: number;
}

const TERMINATE = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'tenantry'`;

/** Makes faults happen, one after the other. */
export class Injector {
  constructor(private readonly stage: Stage) {}

  async inject({ kind, lastsMs, victim }: ScheduledFault): Promise<Injected> {
    const readyMs = await this.faults[kind](lastsMs, victim);
    return { kind, overAt: performance.now() - (readyMs ?? 0), ...(readyMs !== undefined && { readyMs }) };
  }

  private readonly faults: Record<FaultKind, (lastsMs: number, victim: number) => Promise<number | void>> = {
    'kill -9': async (_, victim) => this.kill(victim),
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
  };

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

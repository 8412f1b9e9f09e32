import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { Queryable } from '../../platform/database/database.js';
import { OutboxService } from '../../outbox/outbox.service.js';
import type { UsageAlert } from './usage-alerts.table.js';
import { UsageRepository } from '../ledger/usage.repository.js';

const KIND = 'usage.alert';

/** Does something about an alert. Called again for the same one where it failed, or where the process died in it. */
export type AlertListener = (alert: UsageAlert) => Promise<void>;

/** Dates become text on their way. */
interface Told {
  listener: string;
  alert: Omit<UsageAlert, 'periodStart' | 'createdAt'> & { periodStart: string; createdAt: string };
}

/**
 * Tells of thresholds that were reached: as rows, and to whoever listens. Both are written in the transaction that
 * reaches the threshold, so that there is exactly one alert, whoever was first, and nobody misses it.
 */
@Injectable()
export class UsageAlerts implements OnModuleInit {
  private readonly listeners = new Map<string, AlertListener>();

  constructor(
    private readonly repository: UsageRepository,
    private readonly outbox: OutboxService,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(KIND, async (payload) => {
      const { listener, alert } = payload as Told;
      const tell = this.listeners.get(listener);
      if (tell === undefined) throw new Error(`Nobody listens to usage alerts as ${listener}`);
      await tell({ ...alert, periodStart: new Date(alert.periodStart), createdAt: new Date(alert.createdAt) });
    });
  }

  /**
   * Other modules call it when they start: `alerts.listen('mail', async (alert) => …)`.
   *
   * @param name tells listeners apart and lasts: what waits for one is kept under it
   */
  listen(name: string, listener: AlertListener): void {
    this.listeners.set(name, listener);
  }

  async record(alerts: UsageAlert[], db: Queryable): Promise<void> {
    const fresh = await this.repository.insertAlerts(alerts, db);
    for (const alert of fresh) for (const listener of this.listeners.keys()) await this.outbox.enqueue(KIND, { listener, alert }, db);
  }
}

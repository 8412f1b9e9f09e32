import { Injectable, type OnModuleInit } from '@nestjs/common';
import { OutboxService } from '../../outbox/outbox.service.js';
import type { Queryable } from '../../platform/database/database.js';
import { UsageAlertsRepository } from './usage-alerts.repository.js';
import type { UsageAlert } from './usage-alerts.table.js';

/** Permanent: entries of earlier versions may wait in the outbox. */
const KIND = 'usage.alert';

/** May be called again for the same alert: after a failure, or when the process died in it. */
export type AlertListener = (alert: UsageAlert) => Promise<void>;

interface AlertPayload {
  listener: string;
  alert: Omit<UsageAlert, 'periodStart' | 'createdAt'> & { periodStart: string; createdAt: string };
}

/** Records reached thresholds and notifies listeners. Both happen in the transaction that reaches the threshold. */
@Injectable()
export class UsageAlerts implements OnModuleInit {
  private readonly listeners = new Map<string, AlertListener>();

  constructor(
    private readonly repository: UsageAlertsRepository,
    private readonly outbox: OutboxService,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(KIND, async (payload) => {
      const { listener: name, alert } = payload as AlertPayload;
      const listener = this.listeners.get(name);
      if (listener === undefined) throw new Error(`No listener for usage alerts is called ${name}`);
      await listener({ ...alert, periodStart: new Date(alert.periodStart), createdAt: new Date(alert.createdAt) });
    });
  }

  /**
   * Other modules call it when they start: `alerts.listen('mail', async (alert) => …)`.
   * @param name permanent: entries in the outbox refer to it
   */
  listen(name: string, listener: AlertListener): void {
    this.listeners.set(name, listener);
  }

  async record(alerts: UsageAlert[], db: Queryable): Promise<void> {
    const recorded = await this.repository.insert(alerts, db);
    for (const alert of recorded) for (const listener of this.listeners.keys()) await this.outbox.enqueue(KIND, { listener, alert }, db);
  }
}

import { Injectable } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import { Metrics } from '../../platform/metrics/metrics.service.js';
import { MOST_COUNTED_HOLDS, UsageHoldsRepository } from '../holds/usage-holds.repository.js';
import type { LedgerWrites } from './ledger-snapshot.js';
import { eventsIn, type Operation, type OperationResult } from './operations.js';

/** Counts events and holds after their commit. */
@Injectable()
export class UsageMetrics {
  private readonly events: Counter<'outcome' | 'reason'>;
  private readonly holds: Counter<'outcome'>;

  constructor({ registry }: Metrics, repository: UsageHoldsRepository) {
    const registers = [registry];
    this.events = new Counter({
      name: 'tenantry_usage_events_total',
      help: 'Usage events by outcome (inserted, duplicate, conflict, rejected) and the reason of a rejection',
      labelNames: ['outcome', 'reason'],
      registers,
    });
    this.holds = new Counter({
      name: 'tenantry_holds_total',
      help: 'Holds that were opened, settled, released, expired or refused',
      labelNames: ['outcome'],
      registers,
    });
    new Gauge({
      name: 'tenantry_holds_open',
      help: `Live holds that are in their time (current) or past it and not expired yet (overdue), each counted up to ${MOST_COUNTED_HOLDS}`,
      labelNames: ['state'],
      registers,
      async collect() {
        const { current, overdue } = await repository.countLive();
        this.set({ state: 'current' }, current);
        this.set({ state: 'overdue' }, overdue);
      },
    });
  }

  countInvalid(events: number): void {
    if (events > 0) this.events.inc({ outcome: 'rejected', reason: 'invalid' }, events);
  }

  countExpired(holds: number): void {
    if (holds > 0) this.holds.inc({ outcome: 'expired' }, holds);
  }

  count(batch: Operation[], results: OperationResult[]): void {
    let inserted = 0;
    for (const [index, { events, refused }] of results.entries()) {
      const operation = batch[index]!;
      if (refused !== undefined && operation.kind === 'hold') this.holds.inc({ outcome: 'refused' });
      else if (refused !== undefined) this.refuse(operation, refused);
      for (const { outcome, reason } of events)
        if (outcome === 'inserted') inserted += 1;
        else this.events.inc(reason === undefined ? { outcome } : { outcome, reason });
    }
    if (inserted > 0) this.events.inc({ outcome: 'inserted' }, inserted);
  }

  countHolds({ newHolds, endedHolds }: Pick<LedgerWrites, 'newHolds' | 'endedHolds'>, expired: number): void {
    this.countExpired(expired);
    if (newHolds.length > 0) this.holds.inc({ outcome: 'opened' }, newHolds.length);
    for (const { status } of [...newHolds, ...endedHolds]) if (status !== 'live') this.holds.inc({ outcome: status });
  }

  /** A whole operation was refused, so none of its events has a result. */
  private refuse(operation: Operation, reason: NonNullable<OperationResult['refused']>): void {
    const events = eventsIn(operation).length;
    if (events > 0) this.events.inc({ outcome: 'rejected', reason }, events);
  }
}

import { Inject, Injectable } from '@nestjs/common';
import type { Actor } from '../../access/principal.js';
import { AuditService } from '../../audit/audit.service.js';
import { Clock } from '../../platform/time/clock.service.js';
import { Cursors, type Page } from '../../platform/pagination/cursors.service.js';
import { sweepInBatches } from '../../platform/queue/sweep.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import type { BillingProviderName } from '../../plans/plans.js';
import type { TokenCounts } from '../../prices/prices.service.js';
import { MeterExporter } from './meter-exporter.worker.js';
import type { MeterExport } from './meter-exports.table.js';
import { MeterRegistry } from './meter.port.js';
import { type ExportFilters, type ExportPosition, MeterExportsRepository } from './meter-exports.repository.js';

export interface MeteredEvent extends TokenCounts {
  provider: BillingProviderName;
  providerCustomerId: string;
  ownerId: string;
  /** Unique for the owner only. */
  eventId: string;
  occurredAt: Date;
  model: string;
}

const RETRY_BATCH = 500;

/** Queues usage for the billing providers' meters, and lets operators see and retry it. `MeterExporter` sends it. */
@Injectable()
export class MeterExportsService {
  constructor(
    private readonly repository: MeterExportsRepository,
    private readonly meters: MeterRegistry,
    private readonly exporter: MeterExporter,
    private readonly audit: AuditService,
    private readonly cursors: Cursors,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /** Queues the events of configured meters. Pass the transaction that records them, and call `wake` after its commit. */
  async enqueue(events: MeteredEvent[], db: Queryable): Promise<void> {
    const metered = events.filter(({ provider }) => this.meters.isConfigured(provider));
    if (metered.length > 0) await this.repository.insert(metered.map(rowOf), this.clock.now(), db);
  }

  wake(): void {
    this.exporter.wake();
  }

  async list({ limit, cursor, ...filters }: ExportFilters & { limit: number; cursor?: string }): Promise<Page<MeterExport>> {
    const list = ['meter-exports', filters];
    const position = this.cursors.read(cursor, list)?.map(String) as [string, string, string, string] | undefined;
    const after = position && { provider: position[0], at: position[1], ownerId: position[2], eventId: position[3] };
    const rows = await this.repository.list(filters, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: (row) => Object.values(positionOf(row)) });
  }

  /** Requeues all exports that a provider refused, in batches. Returns how many. */
  async retry(provider: BillingProviderName, actor: Actor): Promise<number> {
    const now = this.clock.now();
    let after: ExportPosition | undefined;
    await this.audit.record({ actor, action: 'meter_export.retried', target: { type: 'meter_export', id: provider } }, this.db);
    return sweepInBatches(
      new AbortController().signal,
      async (limit) => {
        const some = await this.db.transaction((tx) => this.repository.requeueRefused(provider, { now, after, limit }, tx));
        // Continue after this page: exports that are refused again meanwhile must not be requeued endlessly.
        after = some.length === 0 ? after : positionOf(some.at(-1)!);
        this.wake();
        return some.length;
      },
      RETRY_BATCH,
    );
  }
}

function rowOf({ model, inputTokens, outputTokens, cachedInputTokens, reasoningTokens, ...event }: MeteredEvent) {
  const values = {
    model,
    input_tokens: inputTokens,
    output_tokens: outputTokens,
    cached_input_tokens: cachedInputTokens,
    reasoning_tokens: reasoningTokens,
  };
  return { ...event, values };
}

function positionOf({ provider, nextAttemptAt, createdAt, ownerId, eventId }: MeterExport): ExportPosition {
  return { provider, at: (nextAttemptAt ?? createdAt).toISOString(), ownerId, eventId };
}

import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnModuleInit, type BeforeApplicationShutdown } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import { newId } from '../platform/crypto/ids.js';
import { Keyring } from '../platform/crypto/keyring.service.js';
import { Metrics } from '../platform/metrics/metrics.service.js';
import { Tracing } from '../platform/tracing/tracing.js';
import { Poller } from '../platform/queue/poller.js';
import { reasonOf } from '../platform/logging/reason.js';
import { renewInBatches, sweepInBatches } from '../platform/queue/sweep.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { afterCommit } from '../platform/database/transactions.js';
import { JobsService } from '../jobs/jobs.service.js';
import { type ClaimedEntry, OutboxRepository } from './outbox.repository.js';
import { SystemClock } from '../platform/time/clock.service.js';
import { daysBefore } from '../platform/time/durations.js';

/** Performs the work of an entry. It can be called twice for one entry: after a crash, the outcome is unknown. */
export type OutboxHandler = (payload: unknown, entry: { id: string }) => Promise<void>;

const CONTEXT = 'outbox';
const BATCH = 10;
/** Longer than any handler takes. */
const LEASE_SECONDS = 90;
/** About three days, with the delays below. */
const MAX_ATTEMPTS = 80;
const MAX_DELAY_SECONDS = 3600;
const KEEP_DONE_DAYS = 7;

/**
 * Sends mails and calls other services after a commit. The entry is written in the transaction of its cause: nothing is
 * sent for a rollback, and nothing is lost while a service is unavailable (docs/decisions/0019).
 */
@Injectable()
export class OutboxService implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(OutboxService.name);
  private readonly handlers = new Map<string, OutboxHandler>();
  private readonly poller = new Poller((signal) => this.work(signal), {
    pauseMs: 500,
    onError: (error) => this.logger.error({ err: error }, 'The outbox could not be read'),
  });
  private readonly processed: Counter<'kind' | 'outcome'>;

  constructor(
    private readonly repository: OutboxRepository,
    private readonly keyring: Keyring,
    private readonly jobs: JobsService,
    private readonly clock: SystemClock,
    private readonly tracing: Tracing,
    metrics: Metrics,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    const registers = [metrics.registry];
    this.processed = new Counter({
      name: 'tenantry_outbox_attempts_total',
      help: 'Attempts to perform outbox entries',
      labelNames: ['kind', 'outcome'],
      registers,
    });
    new Gauge({
      name: 'tenantry_outbox_entries',
      help: 'Outbox entries that wait (pending) or have no attempts left (dead)',
      labelNames: ['state'],
      registers,
      collect: async function () {
        const { pending, dead } = await repository.count();
        this.set({ state: 'pending' }, pending);
        this.set({ state: 'dead' }, dead);
      },
    });
  }

  onModuleInit(): void {
    this.jobs.register({
      name: 'prune_outbox',
      description: 'Deletes outbox entries that were done a week ago',
      everySeconds: 3600,
      run: (signal) => {
        const before = daysBefore(this.clock.now(), KEEP_DONE_DAYS);
        return sweepInBatches(signal, (limit) => this.repository.deleteDone(before, limit));
      },
    });
  }

  onApplicationBootstrap(): void {
    this.poller.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.poller.stop();
  }

  /** Sets the handler of a kind of entries. The module that owns the work calls this when it starts. */
  handle(kind: string, handler: OutboxHandler): void {
    this.handlers.set(kind, handler);
  }

  /** Pass the transaction of the cause: the entry is processed when that commits. */
  async enqueue(kind: string, payload: unknown, db?: Queryable): Promise<void> {
    await this.enqueueAll(kind, [payload], db);
  }

  async enqueueAll(kind: string, payloads: unknown[], db?: Queryable): Promise<void> {
    const entries = payloads.map((payload) => ({ id: newId(), payload: this.keyring.encrypt(JSON.stringify(payload), CONTEXT) }));
    if (entries.length > 0) await this.repository.insert(kind, entries, this.tracing.traceparent(), db);
    afterCommit(db, () => this.poller.wake());
  }

  async retryDead(): Promise<number> {
    const requeued = await sweepInBatches(new AbortController().signal, (limit) => this.repository.requeueDead(limit));
    this.poller.wake();
    return requeued;
  }

  private async work(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    const entries = await this.repository.claim(BATCH, LEASE_SECONDS);
    // Waits for all of them, even if the database fails: a shutdown waits for the calls that are under way.
    const outcomes = await Promise.allSettled(entries.map((entry) => this.attempt(entry)));
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
    return entries.length === BATCH;
  }

  async renewEncryption(): Promise<number> {
    return renewInBatches(
      this.db,
      (limit, tx) => this.repository.lockUnderOlderKeys(this.keyring.newestKeyId, limit, tx),
      ({ id, payload }, tx) => this.repository.updatePayload(id, this.keyring.renew(payload, CONTEXT), tx),
    );
  }

  private async perform(entry: ClaimedEntry): Promise<void> {
    const handler = this.handlers.get(entry.kind);
    if (handler === undefined) throw new Error(`No handler is registered for outbox entries of kind ${entry.kind}`);
    await handler(JSON.parse(this.keyring.decrypt(entry.payload, CONTEXT)), entry);
    await this.repository.markDone(entry.id);
  }

  private async attempt(entry: ClaimedEntry): Promise<void> {
    try {
      const attributes = {
        'messaging.system': 'tenantry',
        'messaging.destination.name': 'outbox',
        'messaging.operation.type': 'process',
        'messaging.message.id': entry.id,
      };
      await this.tracing.continue(`process ${entry.kind}`, { traceparent: entry.traceparent, attributes }, () => this.perform(entry));
      this.processed.inc({ kind: entry.kind, outcome: 'done' });
    } catch (error) {
      const isLast = entry.attempts >= MAX_ATTEMPTS;
      this.processed.inc({ kind: entry.kind, outcome: isLast ? 'dead' : 'failed' });
      this.logger.warn(
        { err: error, outboxId: entry.id, kind: entry.kind, attempts: entry.attempts },
        isLast ? 'An outbox entry died' : 'An outbox entry failed and will be tried again',
      );
      await this.repository.markFailed(entry.id, reasonOf(error), isLast ? null : delaySeconds(entry.attempts));
    }
  }
}

/** Exponential backoff from two seconds to an hour, with jitter. */
function delaySeconds(attempts: number): number {
  const delay = Math.min(2 ** attempts, MAX_DELAY_SECONDS);
  return delay * (0.875 + Math.random() * 0.25);
}

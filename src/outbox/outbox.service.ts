import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnModuleInit, type BeforeApplicationShutdown } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import { newId } from '../platform/crypto/ids.js';
import { Keyring } from '../platform/crypto/keyring.service.js';
import { Metrics } from '../platform/metrics/metrics.service.js';
import { Poller } from '../platform/queue/poller.js';
import { reasonOf } from '../platform/logging/reason.js';
import { renewInBatches, sweepInBatches } from '../platform/queue/sweep.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { JobsService } from '../jobs/jobs.service.js';
import { type ClaimedEntry, OutboxRepository } from './outbox.repository.js';

/** Does what an entry asks for. It may be called twice for one entry: after a crash nobody knows. */
export type OutboxHandler = (payload: unknown, entry: { id: string }) => Promise<void>;

const CONTEXT = 'outbox';
const BATCH = 10;
/** Longer than any handler may take. */
const LEASE_SECONDS = 90;
/** With the delays below: about three days. */
const MAX_ATTEMPTS = 80;
const MAX_DELAY_SECONDS = 3600;
const KEEP_DONE_DAYS = 7;

/**
 * Does outside what was committed here: a row is written in the transaction of its cause and worked off
 * afterwards, so that nothing is sent for what was rolled back and nothing is lost while others are away.
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
    metrics: Metrics,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    const registers = [metrics.registry];
    this.processed = new Counter({
      name: 'tenantry_outbox_attempts_total',
      help: 'Attempts to do what the outbox holds',
      labelNames: ['kind', 'outcome'],
      registers,
    });
    new Gauge({
      name: 'tenantry_outbox_entries',
      help: 'Entries that wait (pending) or have used up their attempts (dead)',
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
      description: 'Removes what the outbox finished a week ago',
      everySeconds: 3600,
      run: (signal) => {
        const before = new Date(Date.now() - KEEP_DONE_DAYS * 86_400_000);
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

  /** Says who does entries of a kind. Owners call it when their module starts. */
  handle(kind: string, handler: OutboxHandler): void {
    this.handlers.set(kind, handler);
  }

  /** Pass the transaction of the cause; without one the entry is written, and picked up, at once. */
  async enqueue(kind: string, payload: unknown, db?: Queryable): Promise<void> {
    await this.repository.insert({ id: newId(), kind, payload: this.keyring.encrypt(JSON.stringify(payload), CONTEXT) }, db);
    this.poller.wake();
  }

  /** Gives every dead entry its attempts back; answers how many. */
  async retryDead(): Promise<number> {
    const revived = await this.repository.reviveDead();
    this.poller.wake();
    return revived;
  }

  private async work(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    const entries = await this.repository.claim(BATCH, LEASE_SECONDS);
    // All of them, also when the database goes away: a stop waits for the round, and so for what it sends.
    const outcomes = await Promise.allSettled(entries.map((entry) => this.attempt(entry)));
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
    return entries.length === BATCH;
  }

  /** Encrypts what waits, and what died, under the newest key, so that older keys can be dropped; answers how many. */
  async renewEncryption(): Promise<number> {
    return renewInBatches(
      this.db,
      (limit, tx) => this.repository.lockNotUnderKey(this.keyring.newestKeyId, limit, tx),
      ({ id, payload }, tx) => this.repository.updatePayload(id, this.keyring.renew(payload, CONTEXT), tx),
    );
  }

  private async attempt(entry: ClaimedEntry): Promise<void> {
    try {
      const handler = this.handlers.get(entry.kind);
      if (handler === undefined) throw new Error(`Nobody handles outbox entries of kind ${entry.kind}`);
      await handler(JSON.parse(this.keyring.decrypt(entry.payload, CONTEXT)), entry);
      await this.repository.markDone(entry.id);
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

/** Doubles from two seconds to an hour, with a jitter of a quarter so that entries do not come back in step. */
function delaySeconds(attempts: number): number {
  const delay = Math.min(2 ** attempts, MAX_DELAY_SECONDS);
  return delay * (0.875 + Math.random() * 0.25);
}

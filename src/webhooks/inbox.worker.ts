import { type BeforeApplicationShutdown, Inject, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { Counter, Gauge, Histogram } from 'prom-client';
import { SYSTEM } from '../access/principal.js';
import { Keyring } from '../platform/crypto/keyring.service.js';
import { Metrics } from '../platform/metrics/metrics.service.js';
import { sharedRead } from '../platform/metrics/shared-read.js';
import { Tracing } from '../platform/tracing/tracing.js';
import { Poller } from '../platform/queue/poller.js';
import { reasonOf } from '../platform/logging/reason.js';
import { Config } from '../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { retryTransaction } from '../platform/database/retry-transaction.js';
import { parsePayload } from './payloads.js';
import { type InboxEvent, MalformedPayload, type WebhookProvider } from './webhook-provider.port.js';
import { type Backlog, type ClaimedEvent, WebhooksRepository } from './webhooks.repository.js';
import { SystemClock } from '../platform/time/clock.service.js';

export const BODY_CONTEXT = 'webhook_events.body';

/** About twenty hours, with the delays below. */
export const MAX_ATTEMPTS = 30;
const FIRST_DELAY_SECONDS = 0.5;
const MAX_DELAY_SECONDS = 3600;
/**
 * Lasts from the claim to the first statement of the effect, which locks the row. Short, so that the events of a killed
 * process are claimed again at once.
 */
export const LEASE_SECONDS = 1;
/** Tries within one attempt after conflicts with other transactions. */
const MAX_TRANSACTION_TRIES = 10;
const MAX_LANES = 8;
/** Several events a claim, so that claims cost less than effects. */
const LEASES_PER_LANE = 4;
/** Events that wait longer for a lane would outlive their lease and lose an attempt. */
const RELEASE_AFTER_MS = 400;

type Outcome = 'processed' | 'ignored' | 'quarantined';

/** An event that this process may attempt; on receipt, with its parsed payload. */
type LeasedEvent = ClaimedEvent & { payload?: unknown };

/**
 * Processes the inbox: leases events on receipt or claims due ones, and applies each in the transaction that marks it as
 * processed. Effects do not depend on the order of events; the worker knows nothing about them.
 */
@Injectable()
export class InboxWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(InboxWorker.name);
  private readonly providers = new Map<string, WebhookProvider>();
  private readonly lanes: number;
  private readonly capacity: number;
  private readonly running = new Set<Promise<void>>();
  private readonly waiting: { event: LeasedEvent; since: number }[] = [];
  private reserved = 0;
  private isStopping = false;
  private releaseTimer?: NodeJS.Timeout;
  private readonly poller = new Poller((signal) => this.work(signal), {
    pauseMs: 500,
    onError: (error) => this.logger.error({ err: error }, 'Claiming webhook events failed'),
  });
  private readonly attempts: Counter<'provider' | 'type' | 'outcome'>;
  private readonly seconds: Histogram<'provider'>;

  constructor(
    private readonly repository: WebhooksRepository,
    private readonly keyring: Keyring,
    private readonly clock: SystemClock,
    private readonly tracing: Tracing,
    config: Config,
    metrics: Metrics,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.lanes = Math.max(1, Math.min(MAX_LANES, Math.floor(config.databasePoolSize / 2)));
    this.capacity = this.lanes * LEASES_PER_LANE;
    const registers = [metrics.registry];
    this.attempts = new Counter({
      name: 'tenantry_webhook_attempts_total',
      help: 'Attempts to process an event: processed, ignored, quarantined, failed (will be retried) or dead',
      labelNames: ['provider', 'type', 'outcome'],
      registers,
    });
    this.seconds = new Histogram({
      name: 'tenantry_webhook_effect_seconds',
      help: 'Time from the receipt of an event to its effect',
      labelNames: ['provider'],
      registers,
      buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 600, 3600],
    });
    const backlog = sharedRead(() => this.backlog());
    const labelNames = ['provider', 'type'] as const;
    for (const [name, help, of] of [
      ['tenantry_webhook_events_pending', 'Events that wait to be processed', 'pending'],
      ['tenantry_webhook_events_dead', 'Events without attempts left', 'dead'],
      ['tenantry_webhook_events_quarantined', 'Events that cannot be parsed', 'quarantined'],
      ['tenantry_webhook_lag_seconds', 'How long the oldest due event has waited', 'lagSeconds'],
    ] as const) {
      new Gauge({
        name,
        help,
        labelNames,
        registers,
        async collect() {
          this.reset();
          for (const { provider, type, [of]: value } of await backlog()) this.set({ provider, type }, value);
        },
      });
    }
  }

  onApplicationBootstrap(): void {
    this.poller.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.isStopping = true;
    await this.poller.stop();
    while (this.running.size > 0) await Promise.all(this.running);
    clearTimeout(this.releaseTimer);
  }

  register(provider: WebhookProvider): void {
    this.providers.set(provider.name, provider);
  }

  find(provider: string): WebhookProvider | undefined {
    return this.providers.get(provider);
  }

  wake(): void {
    this.poller.wake();
  }

  /**
   * Whether an event may be stored with a lease for this process, which saves claiming, decrypting and parsing it.
   * Otherwise it is stored for any process. `start` or `cancelReservation` must follow.
   */
  reserve(): boolean {
    // The other half is for claims, so that new events never keep older ones waiting.
    if (this.isStopping || this.running.size + this.waiting.length + this.reserved >= this.capacity / 2) return false;
    this.reserved += 1;
    return true;
  }

  cancelReservation(): void {
    this.reserved -= 1;
  }

  start(event: LeasedEvent): void {
    this.reserved -= 1;
    if (this.isStopping) void this.releaseLease([event]);
    else this.startLanes([event]);
  }

  /** Unknown types share one label, so that a provider cannot create metrics without end. */
  typeLabel(provider: string, type: string): string {
    return this.providers.get(provider)?.types.has(type) === true ? type : 'other';
  }

  private async backlog(): Promise<Backlog[]> {
    const rows = new Map<string, Backlog>();
    for (const row of await this.repository.backlog()) {
      const type = this.typeLabel(row.provider, row.type);
      const same = rows.get(`${row.provider} ${type}`) ?? { ...row, type, pending: 0, dead: 0, quarantined: 0, lagSeconds: 0 };
      same.pending += row.pending;
      same.dead += row.dead;
      same.quarantined += row.quarantined;
      same.lagSeconds = Math.max(same.lagSeconds, row.lagSeconds);
      rows.set(`${row.provider} ${type}`, same);
    }
    return [...rows.values()];
  }

  private async work(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    const leased = this.running.size + this.waiting.length;
    if (leased > this.capacity / 2) {
      await Promise.race(this.running);
      return true;
    }
    const limit = this.capacity - leased;
    const events = await this.repository.claim(limit, LEASE_SECONDS);
    this.startLanes(events);
    return events.length === limit;
  }

  private startLanes(events: LeasedEvent[]): void {
    const since = performance.now();
    for (const event of events) this.waiting.push({ event, since });
    while (this.running.size < this.lanes && this.waiting.length > 0) {
      const one = this.attempt(this.waiting.shift()!.event)
        .catch((error: unknown) => this.logger.error({ err: error }, 'The outcome of a webhook event could not be stored'))
        .finally(() => {
          this.running.delete(one);
          this.startLanes([]);
        });
      this.running.add(one);
    }
    if (this.waiting.length > 0) this.releaseTimer ??= setTimeout(() => this.releaseLate(), RELEASE_AFTER_MS);
  }

  private releaseLate(): void {
    const latest = performance.now() - RELEASE_AFTER_MS;
    const firstInTime = this.waiting.findIndex(({ since }) => since > latest);
    const late = this.waiting.splice(0, firstInTime === -1 ? this.waiting.length : firstInTime);
    void this.releaseLease(late.map(({ event }) => event));
    const [next] = this.waiting;
    this.releaseTimer = next && setTimeout(() => this.releaseLate(), next.since - latest);
  }

  private async releaseLease(events: LeasedEvent[]): Promise<void> {
    for (const event of events) {
      await this.repository.releaseLease(event).catch((error: unknown) => {
        // The lease expires in a moment anyway.
        this.logger.warn({ err: error, ...logFields(event) }, 'The lease of a webhook event could not be released');
      });
    }
  }

  private async attempt(event: LeasedEvent): Promise<void> {
    const labels = { provider: event.provider, type: this.typeLabel(event.provider, event.type) };
    try {
      const attributes = {
        'messaging.system': event.provider,
        'messaging.destination.name': 'webhooks',
        'messaging.operation.type': 'process',
        'messaging.message.id': event.id,
        'tenantry.webhook.type': labels.type,
      };
      const details = { traceparent: event.traceparent, attributes };
      const outcome = await this.tracing.continue(`process ${event.provider}`, details, () => this.process(event));
      if (outcome === undefined) return;
      this.attempts.inc({ ...labels, outcome });
      this.seconds.observe({ provider: event.provider }, (this.clock.now().getTime() - event.receivedAt.getTime()) / 1000);
      if (outcome === 'quarantined') this.logger.warn(logFields(event), 'A webhook event cannot be parsed and was quarantined');
    } catch (error) {
      const isLast = event.attempts >= MAX_ATTEMPTS;
      this.attempts.inc({ ...labels, outcome: isLast ? 'dead' : 'failed' });
      const message = isLast ? 'A webhook event failed its last attempt and is dead' : 'A webhook event failed and will be retried';
      this.logger[isLast ? 'error' : 'warn']({ err: error, ...logFields(event) }, message);
      await this.repository.markFailed(event, reasonOf(error), isLast ? null : delaySeconds(event.attempts));
    }
  }

  /** Returns undefined if another worker has the event. */
  private async process(event: LeasedEvent): Promise<Outcome | undefined> {
    // The last attempt killed its process before it could store the failure.
    if (event.attempts > MAX_ATTEMPTS) throw new Error('The last attempt did not finish');
    const provider = this.providers.get(event.provider);
    if (provider === undefined) throw new Error(`There is no provider ${event.provider} for this webhook event`);
    try {
      const read = this.read(event, provider);
      const apply = () => this.db.transaction((tx) => this.apply(event, read, provider, tx));
      return await retryTransaction(apply, { attempts: MAX_TRANSACTION_TRIES });
    } catch (error) {
      if (error instanceof LeaseLost) return undefined;
      if (!(error instanceof MalformedPayload)) throw error;
      return (await this.repository.finish(event, 'quarantined', error.message)) ? 'quarantined' : undefined;
    }
  }

  private async apply(event: LeasedEvent, read: InboxEvent, provider: WebhookProvider, tx: Queryable): Promise<Outcome> {
    // Marking the event first locks its row against other workers. The first statements of the effect are pipelined with it.
    const [isHeld, hadEffect] = await Promise.all([this.repository.finish(event, 'processed', null, tx), provider.apply(read, tx)]);
    if (!isHeld) throw new LeaseLost();
    if (!hadEffect) await this.repository.markIgnored(event.id, tx);
    return hadEffect ? 'processed' : 'ignored';
  }

  private read({ messageId, type, eventAt, body, payload: parsed }: LeasedEvent, provider: WebhookProvider): InboxEvent {
    const actor = { ...SYSTEM, requestId: messageId };
    if (parsed !== undefined && eventAt !== null) return { messageId, type, eventAt, payload: parsed, actor };
    if (body === null) throw new Error('The body is no longer stored');
    const bytes = this.keyring.decryptBytes(body, BODY_CONTEXT);
    const payload = parsePayload(bytes);
    // Without a time, it could not be parsed on arrival, and is being replayed.
    const envelope = eventAt === null ? provider.parseEnvelope(payload, bytes) : { type, eventAt };
    return { messageId, payload, actor, ...envelope };
  }
}

/** Another worker has claimed the event; this transaction is rolled back. */
class LeaseLost extends Error {}

function logFields({ id, provider, type, messageId, attempts }: LeasedEvent): object {
  return { webhookEventId: id, provider, type, messageId, attempts };
}

/** Exponential backoff from half a second to an hour, with a jitter of a quarter. */
function delaySeconds(attempts: number): number {
  const delay = Math.min(FIRST_DELAY_SECONDS * 2 ** (attempts - 1), MAX_DELAY_SECONDS);
  return delay * (0.875 + Math.random() * 0.25);
}

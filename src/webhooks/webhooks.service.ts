import type { IncomingHttpHeaders } from 'node:http';
import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { Counter } from 'prom-client';
import type { Actor } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { RouteNotFound } from '../platform/problems/problems.errors.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { Keyring } from '../platform/crypto/keyring.service.js';
import { Metrics } from '../platform/metrics/metrics.service.js';
import { newId } from '../platform/crypto/ids.js';
import { isDatabaseUnavailable } from '../platform/database/database-errors.js';
import { Tracing } from '../platform/tracing/tracing.js';
import { Batcher } from '../platform/queue/batcher.js';
import { renewInBatches, sweepInBatches } from '../platform/queue/sweep.js';
import { Config } from '../platform/config/config.js';
import { DATABASE, type Database } from '../platform/database/database.js';
import { JobsService } from '../jobs/jobs.service.js';
import { BODY_CONTEXT, InboxWorker, LEASE_SECONDS } from './inbox.worker.js';
import { maskSecrets, parsePayload } from './payloads.js';
import { verifiedMessageId } from '../platform/crypto/webhook-signature.js';
import { type Envelope, MalformedPayload, type WebhookProvider } from './webhook-provider.port.js';
import type { WebhookEvent } from './webhook-events.table.js';
import { InvalidSignature, WebhookBodyDeleted, WebhookEventNotFound } from './webhooks.errors.js';
import { type ReceivedEvent, type WebhookEventSummary, type WebhookFilters, WebhooksRepository } from './webhooks.repository.js';
import { SystemClock } from '../platform/time/clock.service.js';
import { daysBefore } from '../platform/time/durations.js';

const ALARM_SECONDS = 60;
const REPLAY_BATCH = 500;
/** Messages that arrive while others are stored share a statement and a commit. In bytes. */
const MAX_RECEIPT_BATCH = 256 * 1024;
const MAX_PENDING_RECEIPTS = 64 * 1024 * 1024;
/** For the unique index; providers send shorter ids. */
const MAX_ID_LENGTH = 255;

export interface WebhookEventDetail extends WebhookEventSummary {
  /** With secrets masked; undefined if it is no longer stored or not JSON. */
  payload?: unknown;
}

type ParsedEvent = Omit<ReceivedEvent, 'isLeased'> & { payload?: unknown };

/** Receives messages, and lets operators read and replay them. `InboxWorker` processes them. */
@Injectable()
export class WebhooksService implements OnModuleInit {
  private readonly logger = new Logger(WebhooksService.name);
  private readonly receipts = new Batcher<ReceivedEvent, Date | undefined>((batch) => this.store(batch), {
    maxBatch: MAX_RECEIPT_BATCH,
    maxPending: MAX_PENDING_RECEIPTS,
    secondBatchThreshold: MAX_RECEIPT_BATCH,
    failsAll: isDatabaseUnavailable,
  });
  private readonly received: Counter<'provider' | 'type' | 'outcome'>;

  constructor(
    private readonly repository: WebhooksRepository,
    private readonly inbox: InboxWorker,
    private readonly keyring: Keyring,
    private readonly audit: AuditService,
    private readonly cursors: Cursors,
    private readonly jobs: JobsService,
    private readonly config: Config,
    private readonly clock: SystemClock,
    private readonly tracing: Tracing,
    metrics: Metrics,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.received = new Counter({
      name: 'tenantry_webhooks_received_total',
      help: 'Received messages: stored, duplicate or refused',
      labelNames: ['provider', 'type', 'outcome'],
      registers: [metrics.registry],
    });
  }

  onModuleInit(): void {
    this.jobs.register({
      name: 'watch_webhooks',
      description: 'Logs an error while webhook events wait longer than a minute',
      everySeconds: 60,
      run: () => this.watch(),
    });
    this.jobs.register({
      name: 'forget_webhook_bodies',
      description: 'Deletes the bodies of processed webhook events after the retention time',
      everySeconds: 3600,
      run: (signal) => {
        const before = daysBefore(this.clock.now(), this.config.webhookBodyDays);
        return sweepInBatches(signal, (limit) => this.repository.deleteBodies(before, limit));
      },
    });
  }

  register(provider: WebhookProvider): void {
    this.inbox.register(provider);
  }

  /**
   * Stores a message once, and returns after the commit.
   * @throws {RouteNotFound} for a provider without a secret
   * @throws {InvalidSignature}
   */
  async receive(providerName: string, headers: IncomingHttpHeaders, body: Buffer): Promise<'stored' | 'duplicate'> {
    const provider = this.inbox.find(providerName);
    if (provider === undefined || provider.keys.length === 0) throw new RouteNotFound();
    const messageId = verifiedMessageId(headers, body, provider.keys, this.clock.now());
    if (messageId === undefined || messageId.length > MAX_ID_LENGTH) {
      this.received.inc({ provider: provider.name, type: '', outcome: 'refused' });
      throw new InvalidSignature();
    }
    const event = this.parse(provider, messageId, body);
    const outcome = (await this.storeAndStart(event)) ? 'stored' : 'duplicate';
    this.received.inc({ provider: provider.name, type: this.inbox.typeLabel(provider.name, event.type), outcome });
    return outcome;
  }

  /** Returns after the commit, and false for a duplicate. */
  private async storeAndStart(parsed: ParsedEvent): Promise<boolean> {
    const isPending = parsed.status === 'pending';
    const event = { ...parsed, isLeased: isPending && this.inbox.reserve() };
    let receivedAt: Date | undefined;
    try {
      receivedAt = await this.receipts.add(event, event.body.length);
    } finally {
      if (event.isLeased && receivedAt === undefined) this.inbox.cancelReservation();
    }
    if (receivedAt === undefined) return false;
    if (event.isLeased) this.inbox.start({ ...event, attempts: 1, receivedAt });
    else if (isPending) this.inbox.wake();
    return true;
  }

  private async store(batch: ReceivedEvent[]): Promise<(Date | undefined)[]> {
    const receivedAt = await this.repository.insert(batch, LEASE_SECONDS);
    return batch.map(({ id }) => receivedAt.get(id));
  }

  async list({ limit, cursor, ...filters }: WebhookFilters & { limit: number; cursor?: string }): Promise<Page<WebhookEventSummary>> {
    const list = ['webhook-events', filters];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.repository.list(filters, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ receivedAt, id }) => [receivedAt.toISOString(), id] });
  }

  async get(id: string): Promise<WebhookEventDetail> {
    const event = found(await this.repository.find(id));
    return { ...event, payload: this.payloadOf(event) };
  }

  /** Requeues an event with all its attempts. @throws {WebhookEventNotFound} @throws {WebhookBodyDeleted} */
  async replay(id: string, actor: Actor): Promise<WebhookEventDetail> {
    const requeued = await this.db.transaction(async (tx) => {
      const { status, body } = found(await this.repository.lock(id, tx));
      if (body === null) throw new WebhookBodyDeleted();
      const [event] = await this.repository.requeue([id], tx);
      await this.audit.record(
        {
          actor,
          action: 'webhook_event.replayed',
          target: { type: 'webhook_event', id },
          before: { status },
          after: { status: 'pending' },
        },
        tx,
      );
      return event!;
    });
    this.inbox.wake();
    return requeued;
  }

  /** Requeues all matching events that are not pending, in short batches. Returns their number. */
  async replayAll(filters: WebhookFilters, actor: Actor): Promise<number> {
    // Events processed while this runs must not be replayed again.
    const until = this.clock.now();
    let after: { receivedAt: Date; id: string } | undefined;
    await this.audit.record(
      { actor, action: 'webhook_event.replayed', target: { type: 'webhook_event', id: 'many' }, after: filters },
      this.db,
    );
    return sweepInBatches(
      new AbortController().signal,
      (limit) =>
        this.db.transaction(async (tx) => {
          const some = await this.repository.lockToReplay(filters, { limit, after, until }, tx);
          await this.repository.requeue(
            some.map(({ id }) => id),
            tx,
          );
          after = some.at(-1);
          this.inbox.wake();
          return some.length;
        }),
      REPLAY_BATCH,
    );
  }

  /** Re-encrypts all bodies under the newest key, so that older keys can be removed. Returns their number. */
  async renewEncryption(): Promise<number> {
    return renewInBatches(
      this.db,
      (limit, tx) => this.repository.lockUnderOlderKeys(this.keyring.newestKeyId, limit, tx),
      ({ id, body }, tx) => this.repository.updateBody(id, this.keyring.renewBytes(body!, BODY_CONTEXT), tx),
    );
  }

  private parse(provider: WebhookProvider, messageId: string, body: Buffer): ParsedEvent {
    const row = { id: newId(), provider: provider.name, messageId, traceparent: this.tracing.traceparent() };
    const encrypt = (bytes: Buffer) => this.keyring.encryptBytes(bytes, BODY_CONTEXT);
    let payload: unknown;
    let envelope: Envelope;
    try {
      payload = parsePayload(body);
      envelope = provider.parseEnvelope(payload, body);
    } catch (error) {
      if (!(error instanceof MalformedPayload)) throw error;
      // If we refused it, the provider would retry for days and then disable the endpoint.
      return { ...row, type: '', eventAt: null, body: encrypt(body), status: 'quarantined', lastError: error.message };
    }
    const { type, eventAt, redactedPayload } = envelope;
    if (redactedPayload === undefined) return { ...row, type, eventAt, body: encrypt(body), status: 'pending', lastError: null, payload };
    const redacted = encrypt(Buffer.from(JSON.stringify(redactedPayload)));
    return { ...row, type, eventAt, body: redacted, status: 'ignored', lastError: null };
  }

  private payloadOf({ body }: WebhookEvent): unknown {
    if (body === null) return undefined;
    try {
      return maskSecrets(parsePayload(this.keyring.decryptBytes(body, BODY_CONTEXT)));
    } catch (error) {
      if (error instanceof MalformedPayload) return undefined;
      throw error;
    }
  }

  private async watch(): Promise<number> {
    const late = (await this.repository.backlog()).filter(({ lagSeconds }) => lagSeconds > ALARM_SECONDS);
    const count = late.reduce((sum, { pending }) => sum + pending, 0);
    if (late.length > 0) {
      const lagSeconds = Math.round(Math.max(...late.map((one) => one.lagSeconds)));
      this.logger.error({ lagSeconds, pending: count }, `Webhook events are late: the oldest has been due for ${lagSeconds} seconds`);
    }
    return count;
  }
}

function found(event: WebhookEvent | undefined): WebhookEvent {
  if (event === undefined) throw new WebhookEventNotFound();
  return event;
}

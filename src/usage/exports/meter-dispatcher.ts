import { setTimeout as pause } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import type { Clock } from '../../platform/time/clock.service.js';
import { laterBy } from '../../platform/time/moments.js';
import { BillingProviderFailed } from '../../subscriptions/sync/billing-provider.port.js';
import { type Meter, type MeterReading, ReadingsRefused } from './meter.port.js';
import type { LeasedExport, MeterExportsRepository } from './meter-exports.repository.js';

const FIRST_DELAY_SECONDS = 1;
const MAX_DELAY_SECONDS = 60;
/** Caps `Retry-After`: the provider is asked again at the latest then. */
const MAX_RETRY_AFTER_SECONDS = 3600;
const REASON_LENGTH = 500;

/** `taken` and `refused` are final; `failed` readings are sent again. */
export type DispatchOutcome = 'taken' | 'refused' | 'failed';

export const DISPATCH_LIMITS = {
  /** Readings in a request. No provider accepts more. */
  batch: 1000,
  /** Between two requests: Polar accepts 500 a minute from all processes together. */
  pauseMs: 250,
  /** Added after a partial batch, so that the next one is fuller. */
  coalesceMs: 750,
  /** When a worker dies, another one may send its batch after this time. */
  leaseSeconds: 60,
  /** A batch still being split after this time returns to the queue. With one request more it stays within the lease. */
  batchMs: 30_000,
  pause,
};

/** Sends pending exports to one provider's meter: the oldest first, one request at a time. */
export class MeterDispatcher {
  private readonly logger = new Logger(MeterDispatcher.name);
  private failures = 0;
  private pausedUntil = new Date(0);
  /** By the monotonic clock, so that a change of the system time does not affect the pace. */
  private nextRequestAt = 0;

  constructor(
    private readonly meter: Meter,
    private readonly repository: MeterExportsRepository,
    private readonly clock: Clock,
    private readonly limits: typeof DISPATCH_LIMITS,
    private readonly onOutcome: (outcome: DispatchOutcome, readings: number) => void,
  ) {}

  /** Sends one batch. Returns whether more may be due. */
  async dispatchBatch(signal: AbortSignal): Promise<boolean> {
    if (this.clock.now() < this.pausedUntil || !(await this.waitForTurn(signal))) return false;
    const { batch, leaseSeconds, coalesceMs } = this.limits;
    const now = this.clock.now();
    const leased = await this.repository.lease(this.meter.provider, { now, until: laterBy(now, leaseSeconds * 1000), limit: batch });
    if (leased.length === 0) return false;
    await this.deliver(leased, signal);
    if (leased.length < batch) this.nextRequestAt += coalesceMs;
    return true;
  }

  private async deliver(leased: LeasedExport[], signal: AbortSignal): Promise<void> {
    const endsAt = performance.now() + this.limits.batchMs;
    const parts = [leased];
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      if (performance.now() > endsAt || !(await this.waitForTurn(signal))) return this.returnToQueue([part, ...parts].flat());
      try {
        await this.send(part, signal);
      } catch (error) {
        if (error instanceof ReadingsRefused) parts.unshift(...(await this.splitRefused(part, error)));
        else if (signal.aborted) return this.returnToQueue([part, ...parts].flat());
        else if (error instanceof BillingProviderFailed) return this.backOff([part, ...parts].flat(), error);
        else throw error;
      }
    }
  }

  private async send(part: LeasedExport[], signal: AbortSignal): Promise<void> {
    try {
      await this.meter.send(part.map(readingOf), signal);
    } finally {
      this.nextRequestAt = performance.now() + this.limits.pauseMs;
    }
    // If the process dies here, they are sent again under the same ids.
    await this.repository.remove(part);
    this.failures = 0;
    this.onOutcome('taken', part.length);
  }

  /** Returns the parts in which the valid readings of a refused request are sent again. */
  private async splitRefused(part: LeasedExport[], { message, refusals }: ReadingsRefused): Promise<LeasedExport[][]> {
    if (refusals.length === 0 && part.length > 1) return halvesOf(part);
    if (refusals.length === 0) {
      await this.refuse(part, message);
      return [];
    }
    const named = new Set(refusals.map(({ index }) => index));
    const rowsOf = (some: typeof refusals) => some.map(({ index }) => part[index]!);
    for (const [reason, some] of Map.groupBy(
      refusals.filter((one) => one.isEarly !== true),
      (one) => one.reason,
    ))
      await this.refuse(rowsOf(some), reason);
    await this.postpone(rowsOf(refusals.filter((one) => one.isEarly === true)));
    const others = part.filter((_, index) => !named.has(index));
    return others.length === 0 ? [] : [others];
  }

  private async refuse(rows: LeasedExport[], reason: string): Promise<void> {
    const { provider } = this.meter;
    await this.repository.refuse(rows, reason.slice(0, REASON_LENGTH));
    this.onOutcome('refused', rows.length);
    this.logger.error({ provider, count: rows.length, reason }, `${provider} refused ${rows.length} usage events permanently`);
  }

  private async postpone(rows: LeasedExport[]): Promise<void> {
    if (rows.length === 0) return;
    const { provider } = this.meter;
    this.logger.warn({ provider, count: rows.length }, `For ${provider}, ${rows.length} usage events are in the future: clocks differ`);
    await this.returnToQueue(rows);
  }

  private async returnToQueue(rows: LeasedExport[]): Promise<void> {
    await this.repository.postpone(rows, laterBy(this.clock.now(), FIRST_DELAY_SECONDS * 1000), null);
  }

  /** The failure says nothing about the readings, so they are retried without limit. */
  private async backOff(rows: LeasedExport[], error: BillingProviderFailed): Promise<void> {
    const { provider } = this.meter;
    const retryAfter = Math.min(error.retryAfterSeconds, MAX_RETRY_AFTER_SECONDS);
    this.failures += 1;
    const seconds = Math.max(retryAfter, delaySeconds(this.failures));
    this.pausedUntil = laterBy(this.clock.now(), seconds * 1000);
    this.onOutcome('failed', rows.length);
    this.logger[error.isRetryable ? 'warn' : 'error'](
      { err: error, provider, count: rows.length, failures: this.failures },
      `Usage could not be sent to ${provider}; the next attempt is in ${Math.ceil(seconds)} seconds`,
    );
    await this.repository.postpone(rows, this.pausedUntil, error.message.slice(0, REASON_LENGTH));
  }

  private async waitForTurn(signal: AbortSignal): Promise<boolean> {
    const ms = this.nextRequestAt - performance.now();
    try {
      if (ms > 0) await this.limits.pause(ms, undefined, { signal });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    return !signal.aborted;
  }
}

/** Exponential backoff from a second to a minute, with a quarter of jitter. */
function delaySeconds(failures: number): number {
  return Math.min(FIRST_DELAY_SECONDS * 2 ** (failures - 1), MAX_DELAY_SECONDS) * (0.875 + Math.random() * 0.25);
}

/** Splits by customer, because an invalid customer invalidates all their readings; then within one customer. */
function halvesOf(part: LeasedExport[]): [LeasedExport[], LeasedExport[]] {
  const customers = [...new Set(part.map((row) => row.providerCustomerId))];
  if (customers.length === 1) return [part.slice(0, part.length / 2), part.slice(part.length / 2)];
  const first = new Set(customers.slice(0, customers.length / 2));
  const isFirst = (row: LeasedExport) => first.has(row.providerCustomerId);
  return [part.filter(isFirst), part.filter((row) => !isFirst(row))];
}

/** Event ids are unique for their owner; the provider's ids for the whole account. */
function readingOf({ ownerId, eventId, providerCustomerId, occurredAt, values, tokensUsed }: LeasedExport): MeterReading {
  return { id: `${ownerId}:${eventId}`, providerCustomerId, occurredAt, values: { ...values, tokens_used: tokensUsed } };
}

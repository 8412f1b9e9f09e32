import { setTimeout as pause } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import type { Clock } from '../../platform/time/clock.service.js';
import { laterBy } from '../../platform/time/moments.js';
import { BillingProviderFailed } from '../../subscriptions/sync/billing-provider.port.js';
import { type Meter, type MeterReading, ReadingsRefused } from './meter.port.js';
import type { ClaimedExport, MetersRepository } from './meter-exports.repository.js';

const FIRST_DELAY_SECONDS = 1;
const MAX_DELAY_SECONDS = 60;
/** Longer than any provider means it: it is asked again at the latest then. */
const MAX_RETRY_AFTER_SECONDS = 3600;
const REASON_LENGTH = 500;

/** What became of readings. */
export type DispatchOutcome = 'taken' | 'refused' | 'failed';

/** How a line behaves. */
export const LINE_LIMITS = {
  /** Of a request: neither provider takes more. */
  batch: 1000,
  /** Between two requests. Polar takes 500 in a minute from all processes together. */
  pauseMs: 250,
  /** Besides, after a batch that was not full, for the next one to be fuller. */
  coalesceMs: 750,
  /** A worker that dies leaves its batch alone for so long. */
  leaseSeconds: 60,
  /** How long one batch is sorted out before what is left of it goes back in line; with a request, within the lease. */
  batchMs: 30_000,
  pause,
};

/** Tells one provider's meter of what waits for it: the oldest first, one request at a time. */
export class MeterDispatcher {
  private readonly logger = new Logger(MeterDispatcher.name);
  private failures = 0;
  /** While the provider is away. */
  private restsUntil = new Date(0);
  /** When the next request may go; by the process's own clock, since a pace is no rule about dates. */
  private nextAt = 0;

  constructor(
    private readonly meter: Meter,
    private readonly repository: MetersRepository,
    private readonly clock: Clock,
    private readonly limits: typeof LINE_LIMITS,
    private readonly count: (outcome: DispatchOutcome, readings: number) => void,
  ) {}

  /** One batch; answers whether there may be more. */
  async work(signal: AbortSignal): Promise<boolean> {
    if (this.clock.now() < this.restsUntil || !(await this.isMyTurn(signal))) return false;
    const { batch, leaseSeconds, coalesceMs } = this.limits;
    const now = this.clock.now();
    const claimed = await this.repository.claim(this.meter.provider, { now, until: laterBy(now, leaseSeconds * 1000), limit: batch });
    if (claimed.length === 0) return false;
    await this.deliver(claimed, signal);
    if (claimed.length < batch) this.nextAt += coalesceMs;
    return true;
  }

  private async deliver(claimed: ClaimedExport[], signal: AbortSignal): Promise<void> {
    const endsAt = performance.now() + this.limits.batchMs;
    const parts = [claimed];
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      if (performance.now() > endsAt || !(await this.isMyTurn(signal))) return this.giveBack([part, ...parts].flat());
      try {
        await this.send(part, signal);
      } catch (error) {
        if (error instanceof ReadingsRefused) parts.unshift(...(await this.sortOut(part, error)));
        else if (signal.aborted) return this.giveBack([part, ...parts].flat());
        else if (error instanceof BillingProviderFailed) return this.rest([part, ...parts].flat(), error);
        else throw error;
      }
    }
  }

  private async send(part: ClaimedExport[], signal: AbortSignal): Promise<void> {
    try {
      await this.meter.send(part.map(readingOf), signal);
    } finally {
      this.nextAt = performance.now() + this.limits.pauseMs;
    }
    // A process that dies here sends them again, under the same ids.
    await this.repository.remove(part);
    this.failures = 0;
    this.count('taken', part.length);
  }

  /** Answers in what parts the others of a refused request are to be sent again. */
  private async sortOut(part: ClaimedExport[], { message, refusals }: ReadingsRefused): Promise<ClaimedExport[][]> {
    if (refusals.length === 0 && part.length > 1) return halvesOf(part);
    if (refusals.length === 0) {
      await this.refuse(part, message);
      return [];
    }
    const named = new Set(refusals.map(({ index }) => index));
    const of = (some: typeof refusals) => some.map(({ index }) => part[index]!);
    for (const [reason, some] of Map.groupBy(
      refusals.filter((one) => one.isEarly !== true),
      (one) => one.reason,
    ))
      await this.refuse(of(some), reason);
    await this.postpone(of(refusals.filter((one) => one.isEarly === true)));
    const others = part.filter((_, index) => !named.has(index));
    return others.length === 0 ? [] : [others];
  }

  private async refuse(rows: ClaimedExport[], reason: string): Promise<void> {
    const { provider } = this.meter;
    await this.repository.refuse(rows, reason.slice(0, REASON_LENGTH));
    this.count('refused', rows.length);
    this.logger.error({ provider, count: rows.length, reason }, `${provider} refused usage of ${rows.length} events for good`);
  }

  /** The provider's clock is behind ours. */
  private async postpone(rows: ClaimedExport[]): Promise<void> {
    if (rows.length === 0) return;
    const { provider } = this.meter;
    this.logger.warn(
      { provider, count: rows.length },
      `To ${provider}, usage of ${rows.length} events has not happened yet: clocks differ`,
    );
    await this.giveBack(rows);
  }

  /** As it was before the claim, but for a moment in which others go first. */
  private async giveBack(rows: ClaimedExport[]): Promise<void> {
    await this.repository.postpone(rows, laterBy(this.clock.now(), FIRST_DELAY_SECONDS * 1000), null);
  }

  /** It says nothing about what was sent, so none of it is ever given up. */
  private async rest(rows: ClaimedExport[], error: BillingProviderFailed): Promise<void> {
    const { provider } = this.meter;
    const wanted = Math.min(error.retryAfterSeconds, MAX_RETRY_AFTER_SECONDS);
    this.failures += 1;
    const seconds = Math.max(wanted, delaySeconds(this.failures));
    this.restsUntil = laterBy(this.clock.now(), seconds * 1000);
    this.count('failed', rows.length);
    this.logger[error.isRetryable ? 'warn' : 'error'](
      { err: error, provider, count: rows.length, failures: this.failures },
      `${provider} could not be told of usage and will be again in ${Math.ceil(seconds)} seconds`,
    );
    await this.repository.postpone(rows, this.restsUntil, error.message.slice(0, REASON_LENGTH));
  }

  /** False when the process stops meanwhile. */
  private async isMyTurn(signal: AbortSignal): Promise<boolean> {
    const ms = this.nextAt - performance.now();
    try {
      if (ms > 0) await this.limits.pause(ms, undefined, { signal });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    return !signal.aborted;
  }
}

/** Doubles from a second to a minute, with a jitter of a quarter so that processes do not come back in step. */
function delaySeconds(failures: number): number {
  return Math.min(FIRST_DELAY_SECONDS * 2 ** (failures - 1), MAX_DELAY_SECONDS) * (0.875 + Math.random() * 0.25);
}

/** By customer, since what is wrong with one is wrong with all that is theirs; then one customer's in two. */
function halvesOf(part: ClaimedExport[]): [ClaimedExport[], ClaimedExport[]] {
  const customers = [...new Set(part.map((row) => row.providerCustomerId))];
  if (customers.length === 1) return [part.slice(0, part.length / 2), part.slice(part.length / 2)];
  const first = new Set(customers.slice(0, customers.length / 2));
  const isFirst = (row: ClaimedExport) => first.has(row.providerCustomerId);
  return [part.filter(isFirst), part.filter((row) => !isFirst(row))];
}

/** An event's id is unique for its owner only, the provider's for its whole account: the owner's id makes it that. */
function readingOf({ ownerId, eventId, providerCustomerId, occurredAt, values, tokensUsed }: ClaimedExport): MeterReading {
  return { id: `${ownerId}:${eventId}`, providerCustomerId, occurredAt, values: { ...values, tokens_used: tokensUsed } };
}

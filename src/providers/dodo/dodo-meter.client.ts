import { Injectable } from '@nestjs/common';
import type DodoPayments from 'dodopayments';
import { Clock } from '../../platform/time/clock.service.js';
import { Config } from '../../platform/config/config.js';
import { type Meter, type MeterReading, MeterRegistry, ReadingsRefused } from '../../usage/exports/meter.port.js';
import { BillingHttpClient, ProviderRequestRejected } from '../billing-http.client.js';
import { createDodoSdk, parseDodoErrorBody } from './dodo-sdk.js';
import { MINUTE_MS } from '../../platform/time/durations.js';

const TIMEOUT_MS = 20_000;
/** Dodo refuses events older than an hour; the margin is for clock differences and the transfer. */
const OLDEST_MS = 55 * MINUTE_MS;

/** Dodo's meters: https://docs.dodopayments.com/features/usage-based-billing/event-ingestion */
@Injectable()
export class DodoMeter implements Meter {
  readonly provider = 'dodo';
  readonly calls = new BillingHttpClient('dodo', parseDodoErrorBody);

  constructor(
    private readonly config: Config,
    private readonly clock: Clock,
    meters: MeterRegistry,
  ) {
    this.calls.limits.timeoutMs = TIMEOUT_MS;
    meters.register(this);
  }

  get isConfigured(): boolean {
    return this.config.dodoApi !== undefined && this.config.dodoMeterEvent !== undefined;
  }

  async send(readings: MeterReading[], signal: AbortSignal): Promise<void> {
    const operation = 'take usage';
    const now = this.clock.now();
    const events = readings.map((reading) => this.eventOf(reading, now));
    try {
      await this.calls.write(operation, async (send) => createDodoSdk(this.config, operation, send).usageEvents.ingest({ events }), {
        signal,
      });
    } catch (error) {
      if (!(error instanceof ProviderRequestRejected) || !error.isInvalidContent) throw error;
      throw (await this.isCustomerUnknown(readings, signal)) ? refuseAll(readings) : new ReadingsRefused(error.message);
    }
  }

  /**
   * Dodo does not report which event it refused. If the one customer of a batch does not exist, all its events are
   * refused without a request for each.
   */
  private async isCustomerUnknown([first, ...others]: MeterReading[], signal: AbortSignal): Promise<boolean> {
    const customerId = first!.providerCustomerId;
    if (others.some((reading) => reading.providerCustomerId !== customerId)) return false;
    const operation = 'read a customer';
    const found = await this.calls.find(
      operation,
      async (send) => createDodoSdk(this.config, operation, send).customers.retrieve(customerId),
      signal,
    );
    return found === undefined;
  }

  private eventOf({ id, providerCustomerId, occurredAt, values }: MeterReading, now: Date): DodoPayments.EventInput {
    const oldest = new Date(now.getTime() - OLDEST_MS);
    const timestamp = occurredAt < oldest ? oldest : occurredAt > now ? now : occurredAt;
    return {
      event_name: this.config.dodoMeterEvent!,
      event_id: id,
      customer_id: providerCustomerId,
      timestamp: timestamp.toISOString(),
      // Late usage is billed now; the metadata keeps its real time.
      metadata: { ...values, ...(timestamp !== occurredAt && { occurred_at: occurredAt.toISOString() }) },
    };
  }
}

function refuseAll(readings: MeterReading[]): ReadingsRefused {
  const reason = 'dodo has no such customer';
  return new ReadingsRefused(
    reason,
    readings.map((_, index) => ({ index, reason })),
  );
}

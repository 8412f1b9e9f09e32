import { Injectable } from '@nestjs/common';
import type { models } from '@polar-sh/sdk/2026-10';
import { createEventsService } from '@polar-sh/sdk/2026-10/services/events';
import { Clock } from '../../platform/time/clock.service.js';
import { Config } from '../../platform/config/config.js';
import { type Meter, type MeterReading, MeterRegistry, ReadingsRefused, type RefusedReading } from '../../usage/exports/meter.port.js';
import { BillingHttpClient, ProviderRequestRejected } from '../billing-http.client.js';
import { createPolarSdk, parsePolarErrorBody } from './polar-sdk.js';

const TIMEOUT_MS = 20_000;

/** Polar's meters: https://polar.sh/docs/features/usage-based-billing/event-ingestion */
@Injectable()
export class PolarMeter implements Meter {
  readonly provider = 'polar';
  readonly calls = new BillingHttpClient('polar', parsePolarErrorBody);

  constructor(
    private readonly config: Config,
    private readonly clock: Clock,
    meters: MeterRegistry,
  ) {
    this.calls.limits.timeoutMs = TIMEOUT_MS;
    meters.register(this);
  }

  get isConfigured(): boolean {
    return this.config.polarApi !== undefined && this.config.polarMeterEvent !== undefined;
  }

  async send(readings: MeterReading[], signal: AbortSignal): Promise<void> {
    const operation = 'take usage';
    const now = this.clock.now();
    const events = readings.map((reading) => this.eventOf(reading, now));
    try {
      await this.calls.write(
        operation,
        async (send) => createEventsService(createPolarSdk(this.config, operation, send)).ingest({ events }),
        { signal },
      );
    } catch (error) {
      if (!(error instanceof ProviderRequestRejected) || !error.isInvalidContent) throw error;
      throw new ReadingsRefused(error.message, toRefusals(error));
    }
  }

  private eventOf({ id, providerCustomerId, occurredAt, values }: MeterReading, now: Date): models.EventCreateCustomer {
    return {
      name: this.config.polarMeterEvent!,
      external_id: id,
      customer_id: providerCustomerId,
      // Polar refuses timestamps in the future. Old ones are billed in the current period.
      timestamp: (occurredAt < now ? occurredAt : now).toISOString(),
      metadata: { ...values, ...llmMetadata(values) },
    };
  }
}

/** For Polar's own views of models. They need a vendor, which only names such as `openai/gpt-5` contain. */
function llmMetadata({ model: name, ...tokens }: MeterReading['values']): Pick<models.EventMetadataInput, '_llm'> {
  const [, vendor, model] = /^([^/]+)\/(.+)$/.exec(name) ?? [];
  const input = tokens.input_tokens + tokens.cached_input_tokens;
  const output = tokens.output_tokens + tokens.reasoning_tokens;
  if (vendor === undefined || model === undefined || input + output !== tokens.tokens_used) return {};
  return {
    _llm: {
      vendor,
      model,
      input_tokens: input,
      cached_input_tokens: tokens.cached_input_tokens,
      output_tokens: output,
      total_tokens: tokens.tokens_used,
    },
  };
}

/** Paths are `body`, `events`, the index, and the field; the name of a schema may be in between. */
function toRefusals({ details = [] }: ProviderRequestRejected): RefusedReading[] {
  const byEvent = Map.groupBy(details, ({ path }) => path[path.indexOf('events') + 1]);
  return [...byEvent].flatMap(([index, all]) => {
    if (typeof index !== 'number') return [];
    const reason = all.map(({ path, message }) => `${path.at(-1)}: ${message}`).join('; ');
    return [{ index, reason, isEarly: all.some(({ path }) => path.at(-1) === 'timestamp') }];
  });
}

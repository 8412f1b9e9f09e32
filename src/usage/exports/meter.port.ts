import { Injectable } from '@nestjs/common';
import type { BillingProviderName } from '../../plans/plans.js';
import type { MeterValues } from './meter-exports.table.js';

export interface MeterReading {
  /** Unique in the provider's account and the same at every attempt: the provider counts a repetition once. */
  id: string;
  providerCustomerId: string;
  occurredAt: Date;
  values: MeterValues & { tokens_used: number };
}

export interface Meter {
  readonly provider: BillingProviderName;
  /** An API key and an event name for the meter are configured. */
  readonly isConfigured: boolean;
  /**
   * Sends at most a thousand readings in one request. The provider accepts all new ones or none.
   * @throws {ReadingsRefused} for invalid readings
   * @throws {BillingProviderFailed} for every other failure
   */
  send(readings: MeterReading[], signal: AbortSignal): Promise<void>;
}

export interface RefusedReading {
  index: number;
  reason: string;
  /** The reading is valid but in the provider's future: a later attempt succeeds. */
  isEarly?: boolean;
}

/** A provider accepted none of a request, because some of its readings are invalid. */
export class ReadingsRefused extends Error {
  /** @param refusals empty if the provider does not name them */
  constructor(
    reason: string,
    readonly refusals: RefusedReading[] = [],
  ) {
    super(reason);
  }
}

@Injectable()
export class MeterRegistry {
  private readonly meters = new Map<string, Meter>();

  register(meter: Meter): void {
    this.meters.set(meter.provider, meter);
  }

  isConfigured(provider: BillingProviderName): boolean {
    return this.meters.get(provider)?.isConfigured === true;
  }

  configured(): Meter[] {
    return [...this.meters.values()].filter(({ isConfigured }) => isConfigured);
  }
}

import { Injectable } from '@nestjs/common';
import type { BillingProviderName } from '../../plans/plans.js';
import type { MeterValues } from './meter-exports.table.js';

/** Usage of one event, as a provider is told of it. */
export interface MeterReading {
  /** The same at every attempt, and nobody else's in the provider's account: told again, it is not counted again. */
  id: string;
  providerCustomerId: string;
  occurredAt: Date;
  values: MeterValues & { tokens_used: number };
}

/** A billing provider's meter. */
export interface Meter {
  readonly provider: BillingProviderName;
  /** Whether there is a key to its API, and a name that the meter listens to. */
  readonly isConfigured: boolean;
  /**
   * Tells of at most a thousand readings, no id twice, in one request: all of them are taken, or none that is new.
   *
   * @throws {ReadingsRefused} for what is wrong with some of them
   * @throws {BillingProviderFailed} for everything that has nothing to do with them
   */
  send(readings: MeterReading[], signal: AbortSignal): Promise<void>;
}

/** What is wrong with a reading of a request. */
export interface Refusal {
  /** Its place in the request. */
  index: number;
  reason: string;
  /** It is right, but too early: it will be taken later. */
  isEarly?: boolean;
}

/** A provider took none of a request, because of some of its readings. */
export class ReadingsRefused extends Error {
  /** @param refusals which they are; none where the provider does not say */
  constructor(
    reason: string,
    readonly refusals: Refusal[] = [],
  ) {
    super(reason);
  }
}

/** Those that there are. A provider's module registers its own when it is made. */
@Injectable()
export class Meters {
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

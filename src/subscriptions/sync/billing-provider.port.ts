import { Injectable } from '@nestjs/common';
import type { Actor } from '../../access/principal.js';
import type { EventVersion } from '../../sync/event-version.js';
import type { Owner } from '../../owners/owner.js';
import type { BillingProviderName } from '../../plans/plans.js';
import type { Payment } from '../payments/payments.table.js';
import type { Subscription } from '../subscriptions.table.js';

/** Fields that may name the owner, by our id or Clerk's. */
export interface OwnerHints {
  /** Metadata of the purchase: `organizationId` or `userId`. */
  metadata?: Record<string, unknown> | null;
  /** Our id of the customer, as stored at the provider. */
  externalId?: string | null;
  customerMetadata?: Record<string, unknown> | null;
}

export interface CustomerSnapshot {
  provider: BillingProviderName;
  providerCustomerId: string;
  /** Hints of the customer object itself; null if only its id is known. */
  ownerHints: Pick<OwnerHints, 'externalId' | 'customerMetadata'> | null;
  /** ISO 8601; `-infinity` if unknown. */
  modifiedAt: string;
  isDeleted: boolean;
}

/** The time one invoice pays for, from `start` up to but not including `end`. */
export interface BillingPeriod {
  start: Date;
  end: Date;
}

/** The periods of a subscription, ordered by distinct starts. They may overlap. */
export interface BillingPeriods {
  list: BillingPeriod[];
  /** The subscription ends with the last period. */
  isLastFinal: boolean;
}

/** Undefined if a date is missing, or the end is not after the start. */
export function periodOf(start: Date | null | undefined, end: Date | null | undefined): BillingPeriod | undefined {
  return start != null && end != null && start < end ? { start, end } : undefined;
}

export type SubscriptionSnapshot = Pick<
  Subscription,
  | 'productId'
  | 'status'
  | 'startedAt'
  | 'currentPeriodStart'
  | 'currentPeriodEnd'
  | 'cancelAtPeriodEnd'
  | 'canceledAt'
  | 'endsAt'
  | 'endedAt'
  | 'trialEnd'
  | 'pastDueUntil'
  | 'seats'
  | 'amount'
  | 'currency'
> & {
  providerSubscriptionId: string;
  providerStatus: string;
  /** `pastDueUntil` is our estimate; it never replaces a date that the provider reported. */
  isGraceEstimated?: boolean;
  /** A trial that ended before the current period. */
  pastTrial?: BillingPeriod;
  ownerHints: OwnerHints;
  customer: CustomerSnapshot;
};

export type PaymentSnapshot = Pick<
  Payment,
  'kind' | 'providerPaymentId' | 'providerSubscriptionId' | 'ofProviderPaymentId' | 'amount' | 'currency' | 'status' | 'occurredAt'
> & {
  providerStatus: string | null;
  ownerHints: OwnerHints;
  customer: CustomerSnapshot;
};

/** The version of a snapshot, and the actor for the audit log. */
export interface SyncContext {
  version: EventVersion;
  actor: Actor;
  /** Set if we requested the snapshot: it is written only if the row still has this version. */
  expectedVersion?: EventVersion;
}

export interface ProviderSubscription {
  id: string;
  /** Missing if it cannot be parsed, for example because of an unknown status. */
  snapshot?: SubscriptionSnapshot;
  /** Why it cannot be parsed, without any of its content. */
  readError?: string;
  omittedFields?: (keyof SubscriptionSnapshot)[];
  /** From the provider's modified time, else from the date of the response. */
  version: EventVersion;
}

export interface ProviderSubscriptionPage {
  subscriptions: ProviderSubscription[];
  /** Where the next page begins; null on the last page. */
  next: string | null;
}

export interface CheckoutOrder {
  owner: Owner;
  providerCustomerId?: string;
  productId: string;
  seats?: number;
  /** Fills in the form; the buyer may change it. */
  email?: string;
  successUrl: string;
  idempotencyKey: string;
}

export interface CheckoutSession {
  url: string;
  expiresAt: Date | null;
  /** The customer created for the owner, if the provider requires one first. */
  providerCustomerId?: string;
}

/**
 * A billing provider's API. Every method throws `BillingProviderFailed`, so that an unavailable provider never looks like
 * a missing subscription.
 */
export interface BillingProvider {
  readonly name: BillingProviderName;
  readonly isConfigured: boolean;
  /** Undefined only if the provider itself reports that it does not exist. */
  findSubscription(id: string, signal?: AbortSignal): Promise<ProviderSubscription | undefined>;
  /** Pages of all subscriptions of any status; one may appear twice. @param from the `next` of an earlier page */
  listSubscriptions(from: string | undefined, signal?: AbortSignal): Promise<ProviderSubscriptionPage>;
  createCheckout(order: CheckoutOrder): Promise<CheckoutSession>;
  createPortal(providerCustomerId: string, returnUrl: string): Promise<{ url: string }>;
  setSeats(providerSubscriptionId: string, seats: number): Promise<void>;
  /** Cancels it at once. Succeeds if it has ended or does not exist. */
  cancelSubscription(providerSubscriptionId: string): Promise<void>;
}

export class BillingProviderFailed extends Error {
  /** No response, a server error, or a rate limit. */
  readonly isRetryable: boolean;
  readonly retryAfterSeconds: number;
  readonly status?: number;

  constructor(
    readonly provider: BillingProviderName,
    operation: string,
    reason: string,
    {
      isRetryable = false,
      retryAfterSeconds = 0,
      status,
      cause,
    }: { isRetryable?: boolean; retryAfterSeconds?: number; status?: number; cause?: unknown } = {},
  ) {
    super(`${provider} could not ${operation}: ${reason}`, { cause });
    this.isRetryable = isRetryable;
    this.retryAfterSeconds = retryAfterSeconds;
    this.status = status;
  }
}

/** The registered providers. Each provider's client registers itself. */
@Injectable()
export class BillingProviders {
  private readonly providers = new Map<string, BillingProvider>();

  register(provider: BillingProvider): void {
    this.providers.set(provider.name, provider);
  }

  get(name: string): BillingProvider | undefined {
    return this.providers.get(name);
  }

  configured(): BillingProvider[] {
    return [...this.providers.values()].filter(({ isConfigured }) => isConfigured);
  }
}

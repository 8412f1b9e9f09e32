import { Injectable } from '@nestjs/common';
import type { Actor } from '../../access/principal.js';
import type { EventVersion } from '../../sync/event-version.js';
import type { Owner } from '../../owners/owner.js';
import type { BillingProviderName } from '../../plans/plans.js';
import type { Payment } from '../payments/payments.table.js';
import type { Subscription } from '../subscriptions.table.js';

/** Where a provider's object may name its owner, by our id or Clerk's. */
export interface OwnerHints {
  /** Of what was bought: `organizationId` or `userId`. */
  metadata?: Record<string, unknown> | null;
  /** The customer's id with us, as the provider knows it. */
  externalId?: string | null;
  customerMetadata?: Record<string, unknown> | null;
}

/** A payer as the provider tells it. */
export interface CustomerSnapshot {
  provider: BillingProviderName;
  providerCustomerId: string;
  /** What the customer itself says, not what was bought; null where only their id was told. */
  ownerHints: Pick<OwnerHints, 'externalId' | 'customerMetadata'> | null;
  /** At the provider, ISO 8601; `-infinity` where it does not tell. */
  modifiedAt: string;
  isDeleted: boolean;
}

/** What one invoice pays for: `start` belongs to it, `end` to the next one. */
export interface BillingPeriod {
  start: Date;
  end: Date;
}

/** The periods of a subscription by their start, no two of which begin at the same moment. They may overlap. */
export interface BillingPeriods {
  list: BillingPeriod[];
  /** The subscription is known to end with the last one. */
  isLastFinal: boolean;
}

/** Undefined where a date is missing or they are in the wrong order. */
export function periodOf(start: Date | null | undefined, end: Date | null | undefined): BillingPeriod | undefined {
  return start != null && end != null && start < end ? { start, end } : undefined;
}

/** A subscription as the provider tells it, in our words. */
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
  /** The provider did not tell until when a failed renewal is borne with: only what is not known yet follows it. */
  isGraceEstimated?: boolean;
  /** The trial that was over when the current period began. */
  pastTrial?: BillingPeriod;
  ownerHints: OwnerHints;
  customer: CustomerSnapshot;
};

/** A payment, refund or dispute as the provider tells it. */
export type PaymentSnapshot = Pick<
  Payment,
  'kind' | 'providerPaymentId' | 'providerSubscriptionId' | 'ofProviderPaymentId' | 'amount' | 'currency' | 'status' | 'occurredAt'
> & {
  providerStatus: string | null;
  ownerHints: OwnerHints;
  customer: CustomerSnapshot;
};

/** Who told it, and where it stands among all that is told. */
export interface SyncContext {
  version: EventVersion;
  actor: Actor;
  /** It was asked for, and not told by an event: written only if the row still has this key. */
  expectedVersion?: EventVersion;
}

/** What a provider's API says of a subscription, and since when. */
export interface ProviderSubscription {
  id: string;
  /** Undefined for what cannot be read: a status that we do not know, for one. */
  snapshot?: SubscriptionSnapshot;
  /** Why it cannot be read, without what it holds. */
  readError?: string;
  /** What a list leaves out; one that is asked for by itself tells all. */
  omittedFields?: (keyof SubscriptionSnapshot)[];
  /** By the provider's modified time, or the answer's date where there is none. */
  version: EventVersion;
}

/** Some subscriptions of a walk through all of them. */
export interface ProviderSubscriptionPage {
  subscriptions: ProviderSubscription[];
  /** Where the next page begins; null on the last one. A walk can be taken up again there. */
  next: string | null;
}

export interface CheckoutOrder {
  owner: Owner;
  /** The provider's customer who is the owner already. */
  providerCustomerId?: string;
  productId: string;
  seats?: number;
  /** Fills in the form; the customer may change it. */
  email?: string;
  successUrl: string;
  /** The same key makes one checkout. */
  idempotencyKey: string;
}

export interface CheckoutSession {
  url: string;
  expiresAt: Date | null;
  /** The customer that was made for the owner, where the provider needs one first. */
  providerCustomerId?: string;
}

/**
 * A billing provider's API. Every method throws `BillingProviderFailed`: what is away is never taken for what is
 * not there.
 */
export interface BillingProvider {
  readonly name: BillingProviderName;
  /** Whether there is a key to its API. */
  readonly isConfigured: boolean;
  /** Undefined only if the provider itself says that there is none. */
  findSubscription(id: string, signal?: AbortSignal): Promise<ProviderSubscription | undefined>;
  /** All of them, whatever their status; one may come twice. @param from where a walk was left */
  listSubscriptions(from: string | undefined, signal?: AbortSignal): Promise<ProviderSubscriptionPage>;
  createCheckout(order: CheckoutOrder): Promise<CheckoutSession>;
  /** Where a customer manages what they pay. */
  createPortal(providerCustomerId: string, returnUrl: string): Promise<{ url: string }>;
  setSeats(providerSubscriptionId: string, seats: number): Promise<void>;
  /** Ends it now; one that is over, or unknown there, is fine. */
  cancelSubscription(providerSubscriptionId: string): Promise<void>;
}

/** A provider did not do what it was asked for. */
export class BillingProviderFailed extends Error {
  /** It may be fine later: no answer, a fault of its own, or asked too often. */
  readonly isRetryable: boolean;
  readonly retryAfterSeconds: number;
  /** The HTTP status, where there was an answer. */
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

/** Those that there are. A provider's module registers it when it starts. */
@Injectable()
export class BillingProviders {
  private readonly providers = new Map<string, BillingProvider>();

  register(provider: BillingProvider): void {
    this.providers.set(provider.name, provider);
  }

  get(name: string): BillingProvider | undefined {
    return this.providers.get(name);
  }

  /** Those whose API can be asked. */
  configured(): BillingProvider[] {
    return [...this.providers.values()].filter(({ isConfigured }) => isConfigured);
  }
}

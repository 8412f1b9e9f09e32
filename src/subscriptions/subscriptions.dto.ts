import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsOptional, IsString, Length, MaxLength, ValidateIf } from 'class-validator';
import { Transform } from 'class-transformer';
import type { Page } from '../platform/pagination/cursors.service.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { booleanOf, whenGiven } from '../platform/http/bodies/transforms.js';
import { PlanLimitsResponse } from '../plans/plans.dto.js';
import { BILLING_PROVIDERS, type BillingProviderName, type Tier, TIERS } from '../plans/plans.js';
import { type Provider, PROVIDERS } from './customers/billing-customers.table.js';
import type { OpenedCheckout } from './checkout/checkout.service.js';
import type { PaymentWithState } from './payments/payments.repository.js';
import { PAYMENT_STATES, type PaymentState } from './payments/payment-state.js';
import { PAYMENT_KINDS, type PaymentKind } from './payments/payments.table.js';
import { type Reason, REASONS } from './subscription-state.js';
import type { EffectiveSubscription, ConsideredSubscription } from './subscriptions.service.js';
import { SUBSCRIPTION_STATUSES, type SubscriptionStatus } from './subscriptions.table.js';

@ApiSchema({ description: 'The seats of a plan.' })
export class SeatsResponse {
  /** Members now. @example 4 */
  @ApiProperty({ type: 'integer' })
  used!: number;

  /** Null: no limit. @example 10 */
  @ApiProperty({ type: 'integer', nullable: true })
  limit!: number | null;
}

@ApiSchema({ description: 'One subscription, and its effect.' })
export class ConsideredSubscriptionResponse {
  /** Our id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** The billing provider; `manual` is a grant by an operator. */
  @ApiProperty({ enum: PROVIDERS, example: 'polar' })
  provider!: Provider;

  /** The provider's id. @example "sub_Iuaq622bbmmfOGrVTqdXv" */
  providerSubscriptionId!: string | null;

  /** The provider's product. @example "pdt_R8AWMPiV2lSwpmPDhhgo6" */
  productId!: string | null;

  /** The plan of the product; null if the product is in no plan. */
  @ApiProperty({ enum: TIERS, nullable: true, example: 'pro' })
  tier!: Tier | null;

  /** The status. */
  @ApiProperty({ enum: SUBSCRIPTION_STATUSES, example: 'active' })
  status!: SubscriptionStatus;

  /** The provider's own status. @example "active" */
  providerStatus!: string | null;

  /** Whether the subscription grants its plan. @example true */
  grants!: boolean;

  /** The reason. */
  @ApiProperty({ enum: REASONS, example: 'active' })
  reason!: Reason;

  /** How long it grants the plan, if known. */
  until!: Date | null;

  /** The rule that decided. @example "active in a period until 2026-02-01T00:00:00.000Z" */
  rule!: string;

  static of({ row, tier, state }: ConsideredSubscription): ConsideredSubscriptionResponse {
    const { id, provider, providerSubscriptionId, productId, status, providerStatus } = row;
    return { id, provider, providerSubscriptionId, productId, tier: tier ?? null, status, providerStatus, ...state };
  }
}

@ApiSchema({ description: 'The reason for the plan in effect.' })
export class ExplanationResponse {
  /** The deciding subscription; null without one. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  subscriptionId!: string | null;

  /** The rule that decided. @example "active in a period until 2026-02-01T00:00:00.000Z" */
  rule!: string;

  /** All subscriptions of the owner; the deciding one comes first. */
  considered!: ConsideredSubscriptionResponse[];
}

@ApiSchema({ description: 'The plan in effect: its limits, its end and its reason.' })
export class EffectiveSubscriptionResponse {
  /** The plan in effect. */
  @ApiProperty({ enum: TIERS, example: 'pro' })
  tier!: Tier;

  /** The status of the deciding subscription; null without one. */
  @ApiProperty({ enum: SUBSCRIPTION_STATUSES, nullable: true, example: 'active' })
  status!: SubscriptionStatus | null;

  /** Whether a subscription grants more than the free plan. @example true */
  access!: boolean;

  /** `ends`: paid, and will not renew. `grace`: a renewal failed. `unconfirmed`: its period is over, and its provider could not be asked yet. `refunded` and `dispute_lost`: the money was returned, and the plan ends access in that case. */
  @ApiProperty({ enum: REASONS, example: 'active' })
  reason!: Reason;

  /** How long the plan stays in effect, if known. */
  until!: Date | null;

  /** The limits of the plan in effect. */
  limits!: PlanLimitsResponse;

  /** The seats in use. */
  seats!: SeatsResponse;

  /** The start of the paid period. */
  currentPeriodStart!: Date | null;

  /** The end of the paid period. */
  currentPeriodEnd!: Date | null;

  /** Whether the subscription ends with the period. @example false */
  cancelAtPeriodEnd!: boolean;

  /** The end of the trial, past or future. */
  trialEnd!: Date | null;

  /** The certain end of the subscription, if there is one. */
  endsAt!: Date | null;

  /** How the plan was decided. */
  explain!: ExplanationResponse;

  static of({ tier, plan, access, reason, until, seats, chosen, considered }: EffectiveSubscription): EffectiveSubscriptionResponse {
    const row = chosen?.row;
    return {
      tier,
      status: row?.status ?? null,
      access,
      reason,
      until,
      limits: PlanLimitsResponse.of(plan.limits),
      seats: { used: seats.used, limit: seats.limit },
      currentPeriodStart: row?.currentPeriodStart ?? null,
      currentPeriodEnd: row?.currentPeriodEnd ?? null,
      cancelAtPeriodEnd: row?.cancelAtPeriodEnd ?? false,
      trialEnd: row?.trialEnd ?? null,
      endsAt: row?.endsAt ?? null,
      explain: {
        subscriptionId: row?.id ?? null,
        rule: chosen?.state.rule ?? 'there is no subscription',
        considered: considered.map(ConsideredSubscriptionResponse.of),
      },
    };
  }
}

export class ListPaymentsQuery extends ListQuery {
  /** The state. */
  @ApiProperty({ enum: PAYMENT_STATES, required: false, description: 'Only payments in this state.', example: 'refunded' })
  @IsOptional()
  @IsIn(PAYMENT_STATES)
  status?: PaymentState;
}

@ApiSchema({ description: 'A payment, refund or dispute.' })
export class PaymentResponse {
  /** Our id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** Whether it is a payment, a refund or a dispute. */
  @ApiProperty({ enum: PAYMENT_KINDS, example: 'payment' })
  kind!: PaymentKind;

  /** The billing provider. */
  @ApiProperty({ enum: PROVIDERS, example: 'polar' })
  provider!: Provider;

  /** The provider's id. @example "pay_nZeqtKOzGd5i1bdFzGRWs" */
  providerPaymentId!: string;

  /** For a refund or dispute: the provider's id of its payment. @example "pay_nZeqtKOzGd5i1bdFzGRWs" */
  ofProviderPaymentId!: string | null;

  /** The subscription. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  subscriptionId!: string | null;

  /** In minor units of the currency: cents for USD, whole yen for JPY, thousandths for KWD. @example 1080 */
  @ApiProperty({ type: 'integer', nullable: true })
  amount!: number | null;

  /** ISO 4217. @example "USD" */
  currency!: string | null;

  /** The state. A payment is `disputed` while a dispute is open, and `dispute_lost` after one is lost. Disputes themselves are `won` or `lost`. */
  @ApiProperty({ enum: PAYMENT_STATES, example: 'succeeded' })
  status!: PaymentState;

  /** When it happened. */
  occurredAt!: Date;

  static of(payment: PaymentWithState): PaymentResponse {
    const { id, kind, provider, providerPaymentId, ofProviderPaymentId, subscriptionId, amount, currency, status, occurredAt } = payment;
    return { id, kind, provider, providerPaymentId, ofProviderPaymentId, subscriptionId, amount, currency, status, occurredAt };
  }
}

@ApiSchema({ description: 'A page of payments, refunds and disputes.' })
export class PaymentListResponse {
  /** The page, latest first. */
  data!: PaymentResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<PaymentWithState>): PaymentListResponse {
    return { data: data.map(PaymentResponse.of), nextCursor };
  }
}

export class DeleteOwnerQuery {
  /** Whether to cancel a paid subscription too. Without it, a paid subscription prevents the deletion. @example true */
  @ApiProperty({ required: false, default: false })
  @Transform(booleanOf)
  @IsBoolean()
  cancelSubscription: boolean = false;
}

@ApiSchema({ description: 'The plan to buy.' })
export class CheckoutRequest {
  /** The plan, by its tier or an alias. @example "pro" */
  @IsString()
  @Length(1, 100)
  tier!: string;

  /** One of several products of the plan, such as the yearly one. @example "pdt_R8AWMPiV2lSwpmPDhhgo6" */
  @ValidateIf(whenGiven)
  @IsString()
  @Length(1, 255)
  productId?: string;

  /** The provider; by default the first one that sells the plan. */
  @ApiProperty({ enum: BILLING_PROVIDERS, required: false, description: 'The billing provider.', example: 'polar' })
  @ValidateIf(whenGiven)
  @IsIn(BILLING_PROVIDERS)
  provider?: BillingProviderName;

  /** The page to open afterwards, on one of the trusted origins. @example "https://app.example.com/billing" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(2000)
  successUrl?: string;
}

@ApiSchema({ description: 'A checkout.' })
export class CheckoutResponse {
  /** Send the browser there. @example "https://sandbox.polar.sh/checkout/polar_c_1" */
  url!: string;

  /** The provider that was chosen. */
  @ApiProperty({ enum: BILLING_PROVIDERS, example: 'polar' })
  provider!: BillingProviderName;

  /** When the address expires. */
  expiresAt!: Date | null;

  static of({ url, provider, expiresAt }: OpenedCheckout): CheckoutResponse {
    return { url, provider, expiresAt };
  }
}

@ApiSchema({ description: 'A request for the portal.' })
export class PortalRequest {
  /** The page to open afterwards, on one of the trusted origins. @example "https://app.example.com/billing" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(2000)
  returnUrl?: string;
}

@ApiSchema({ description: 'The portal of the provider.' })
export class PortalResponse {
  /** Send the browser there. The address signs its visitor in, so use it at once and do not share it. @example "https://polar.sh/acme/portal?token=polar_cst_1" */
  url!: string;

  static of({ url }: { url: string }): PortalResponse {
    return { url };
  }
}

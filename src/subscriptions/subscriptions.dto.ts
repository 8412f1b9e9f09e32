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

@ApiSchema({ description: 'How many people a plan is for.' })
export class SeatsResponse {
  /** Members now. @example 4 */
  @ApiProperty({ type: 'integer' })
  used!: number;

  /** Null: no limit. @example 10 */
  @ApiProperty({ type: 'integer', nullable: true })
  limit!: number | null;
}

@ApiSchema({ description: 'One subscription, and what it gives.' })
export class ConsideredSubscriptionResponse {
  /** Our id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** Who follows the money; `manual` is a grant by an operator. */
  @ApiProperty({ enum: PROVIDERS, example: 'polar' })
  provider!: Provider;

  /** The provider's id of it. @example "sub_Iuaq622bbmmfOGrVTqdXv" */
  providerSubscriptionId!: string | null;

  /** The provider's product. @example "pdt_R8AWMPiV2lSwpmPDhhgo6" */
  productId!: string | null;

  /** The plan that the product stands for; null for a product that is in no plan. */
  @ApiProperty({ enum: TIERS, nullable: true, example: 'pro' })
  tier!: Tier | null;

  /** How it stands. */
  @ApiProperty({ enum: SUBSCRIPTION_STATUSES, example: 'active' })
  status!: SubscriptionStatus;

  /** The same in the provider's words. @example "active" */
  providerStatus!: string | null;

  /** Whether it gives its plan. @example true */
  grants!: boolean;

  /** Why, or why not. */
  @ApiProperty({ enum: REASONS, example: 'active' })
  reason!: Reason;

  /** Until when it gives it, as far as is known. */
  until!: Date | null;

  /** The rule that decided. @example "active in a period until 2026-02-01T00:00:00.000Z" */
  rule!: string;

  static of({ row, tier, state }: ConsideredSubscription): ConsideredSubscriptionResponse {
    const { id, provider, providerSubscriptionId, productId, status, providerStatus } = row;
    return { id, provider, providerSubscriptionId, productId, tier: tier ?? null, status, providerStatus, ...state };
  }
}

@ApiSchema({ description: 'Why it is so.' })
export class ExplanationResponse {
  /** The subscription that decided; null without any. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  subscriptionId!: string | null;

  /** The rule that decided. @example "active in a period until 2026-02-01T00:00:00.000Z" */
  rule!: string;

  /** All that there are, the one that decided first. */
  considered!: ConsideredSubscriptionResponse[];
}

@ApiSchema({ description: 'What may be used, until when, and why.' })
export class EffectiveSubscriptionResponse {
  /** The plan in effect. */
  @ApiProperty({ enum: TIERS, example: 'pro' })
  tier!: Tier;

  /** Of the subscription that decided; null without any. */
  @ApiProperty({ enum: SUBSCRIPTION_STATUSES, nullable: true, example: 'active' })
  status!: SubscriptionStatus | null;

  /** Whether a subscription gives more than everybody has. @example true */
  access!: boolean;

  /** `ends`: paid, and will not renew. `grace`: a renewal failed. `unconfirmed`: its period is over, and its provider could not be asked yet. `refunded` and `dispute_lost`: the money for it went back, and its plan ends then. */
  @ApiProperty({ enum: REASONS, example: 'active' })
  reason!: Reason;

  /** Until when it holds, as far as is known. */
  until!: Date | null;

  /** The limits of the plan in effect. */
  limits!: PlanLimitsResponse;

  /** How many of them are taken. */
  seats!: SeatsResponse;

  /** When the period began that is paid for. */
  currentPeriodStart!: Date | null;

  /** When it ends. */
  currentPeriodEnd!: Date | null;

  /** Whether it ends then for good. @example false */
  cancelAtPeriodEnd!: boolean;

  /** When its trial ends, or ended. */
  trialEnd!: Date | null;

  /** When it will end for certain. */
  endsAt!: Date | null;

  /** Why it is so. */
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
  /** Only those that stand so. */
  @ApiProperty({ enum: PAYMENT_STATES, required: false, description: 'Only those that stand so.', example: 'refunded' })
  @IsOptional()
  @IsIn(PAYMENT_STATES)
  status?: PaymentState;
}

@ApiSchema({ description: 'Money that moved, or was to move.' })
export class PaymentResponse {
  /** Our id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** A payment, or what became of one. */
  @ApiProperty({ enum: PAYMENT_KINDS, example: 'payment' })
  kind!: PaymentKind;

  /** Who took it. */
  @ApiProperty({ enum: PROVIDERS, example: 'polar' })
  provider!: Provider;

  /** The provider's id of it. @example "pay_nZeqtKOzGd5i1bdFzGRWs" */
  providerPaymentId!: string;

  /** Of a refund or dispute: the provider's id of the payment that it is about. @example "pay_nZeqtKOzGd5i1bdFzGRWs" */
  ofProviderPaymentId!: string | null;

  /** The subscription that it is for. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  subscriptionId!: string | null;

  /** In minor units of the currency: cents for USD, whole yen for JPY, thousandths for KWD. @example 1080 */
  @ApiProperty({ type: 'integer', nullable: true })
  amount!: number | null;

  /** ISO 4217. @example "USD" */
  currency!: string | null;

  /** How it stands. A payment is `disputed` while a dispute about it is open, and `dispute_lost` once one is lost; `won` and `lost` are of disputes themselves. */
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
  /** The page, the latest first. */
  data!: PaymentResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<PaymentWithState>): PaymentListResponse {
    return { data: data.map(PaymentResponse.of), nextCursor };
  }
}

export class DeleteOwnerQuery {
  /** Whether a subscription that goes on charging is canceled, too; without it, such a one stands in the way. @example true */
  @ApiProperty({ required: false, default: false })
  @Transform(booleanOf)
  @IsBoolean()
  cancelSubscription: boolean = false;
}

@ApiSchema({ description: 'What to buy.' })
export class CheckoutRequest {
  /** The plan, by its tier or another name of it. @example "pro" */
  @IsString()
  @Length(1, 100)
  tier!: string;

  /** Which of several products of that plan: by the month or by the year. @example "pdt_R8AWMPiV2lSwpmPDhhgo6" */
  @ValidateIf(whenGiven)
  @IsString()
  @Length(1, 255)
  productId?: string;

  /** Where to pay; without it the first that has the plan. */
  @ApiProperty({ enum: BILLING_PROVIDERS, required: false, description: 'Where to pay.', example: 'polar' })
  @ValidateIf(whenGiven)
  @IsIn(BILLING_PROVIDERS)
  provider?: BillingProviderName;

  /** Where the browser goes afterwards; one of our own origins. @example "https://app.example.com/billing" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(2000)
  successUrl?: string;
}

@ApiSchema({ description: 'Where the money is paid.' })
export class CheckoutResponse {
  /** Send the browser there. @example "https://sandbox.polar.sh/checkout/polar_c_1" */
  url!: string;

  /** The provider that was chosen. */
  @ApiProperty({ enum: BILLING_PROVIDERS, example: 'polar' })
  provider!: BillingProviderName;

  /** When the address stops working. */
  expiresAt!: Date | null;

  static of({ url, provider, expiresAt }: OpenedCheckout): CheckoutResponse {
    return { url, provider, expiresAt };
  }
}

@ApiSchema({ description: 'Where to come back to.' })
export class PortalRequest {
  /** Where the browser goes afterwards; one of our own origins. @example "https://app.example.com/billing" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(2000)
  returnUrl?: string;
}

@ApiSchema({ description: 'Where a subscription is managed.' })
export class PortalResponse {
  /** Send the browser there; it signs its visitor in, so use it at once and show it to nobody else. @example "https://polar.sh/acme/portal?token=polar_cst_1" */
  url!: string;

  static of({ url }: { url: string }): PortalResponse {
    return { url };
  }
}

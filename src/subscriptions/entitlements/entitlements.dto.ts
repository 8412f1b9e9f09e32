import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { PlanLimitsResponse } from '../../plans/plans.dto.js';
import { type Tier, TIERS } from '../../plans/plans.js';
import { type Provider, PROVIDERS } from '../customers/billing-customers.table.js';
import { type EvaluatedSubscription, type Reason, REASONS } from '../subscription-state.js';
import { SUBSCRIPTION_STATUSES, type SubscriptionStatus } from '../subscriptions.table.js';
import type { EffectiveSubscription } from './entitlements.service.js';

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

  static of({ row, tier, state }: EvaluatedSubscription): ConsideredSubscriptionResponse {
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

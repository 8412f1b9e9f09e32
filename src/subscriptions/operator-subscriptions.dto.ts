import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsOptional, IsString, IsUUID, Length, Max, MaxLength, Min, ValidateIf } from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { IsEndTime } from '../platform/time/is-time.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { OWNER_KINDS, type OwnerKind } from '../owners/owner.js';
import { booleanOf, whenGiven } from '../platform/http/bodies/transforms.js';
import { type Provider, PROVIDERS } from './customers/billing-customers.table.js';
import { PAYMENT_STATES, type PaymentState } from './payments/payments.table.js';
import { ConsideredSubscriptionResponse } from './entitlements/entitlements.dto.js';
import type { EvaluatedSubscription } from './subscription-state.js';
import { SUBSCRIPTION_STATUSES, type SubscriptionStatus } from './subscriptions.table.js';

export class ListSubscriptionsQuery extends ListQuery {
  /** Only subscriptions of this user or organization. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid', required: false })
  @IsOptional()
  @IsUUID()
  ownerId?: string;

  /** The provider. */
  @ApiProperty({ enum: PROVIDERS, required: false, description: 'Only subscriptions of this provider.', example: 'polar' })
  @IsOptional()
  @IsIn(PROVIDERS)
  provider?: Provider;

  /** The status. */
  @ApiProperty({ enum: SUBSCRIPTION_STATUSES, required: false, description: 'Only subscriptions with this status.', example: 'active' })
  @IsOptional()
  @IsIn(SUBSCRIPTION_STATUSES)
  status?: SubscriptionStatus;

  /** True: only subscriptions with a known owner; false: only subscriptions without one. @example false */
  @IsOptional()
  @Transform(booleanOf)
  @IsBoolean()
  owned?: boolean;

  /** The state of a payment: `disputed`, for example, to respond to the dispute. */
  @ApiProperty({
    enum: PAYMENT_STATES,
    required: false,
    description: 'Only subscriptions with a payment in this state.',
    example: 'disputed',
  })
  @IsOptional()
  @IsIn(PAYMENT_STATES)
  paymentStatus?: PaymentState;
}

class OwnerRequest {
  /** The organization that becomes the owner. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid', required: false })
  @ValidateIf(whenGiven)
  @IsUUID()
  organizationId?: string;

  /** The user who becomes the owner, if no organization does. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid', required: false })
  @ValidateIf(whenGiven)
  @IsUUID()
  userId?: string;
}

@ApiSchema({ description: 'The owner: an organization or a user.' })
export class LinkSubscriptionRequest extends OwnerRequest {}

@ApiSchema({ description: 'A grant: a plan without a billing provider.' })
export class GrantSubscriptionRequest extends OwnerRequest {
  /** The plan, by its tier or an alias. @example "pro" */
  @IsString()
  @Length(1, 100)
  tier!: string;

  /** When the grant ends; never if omitted. It needs a time with a zone: a day alone is refused. @example "2027-01-01T00:00:00Z" */
  @ValidateIf(whenGiven)
  @IsEndTime()
  endsAt?: Date;

  /** The number of seats. Only for a plan that is per seat; refused for others. @example 10 */
  @ApiProperty({ type: 'integer', required: false })
  @ValidateIf(whenGiven)
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  seats?: number;

  /** The reason. @example "Design partner" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(500)
  note?: string;
}

@ApiSchema({ description: 'A subscription, as operators see it.' })
export class SubscriptionResponse extends ConsideredSubscriptionResponse {
  /** The kind of the owner; null while the owner is unknown. */
  @ApiProperty({ enum: OWNER_KINDS, nullable: true, example: 'organization' })
  ownerKind!: OwnerKind | null;

  /** The owner. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  ownerId!: string | null;

  /** The provider's customer who pays. @example "cus_8VbC6JDZzPEqfBPUdpj0K" */
  providerCustomerId!: string | null;

  /** The start of the paid period. */
  currentPeriodStart!: Date | null;

  /** The end of the paid period. */
  currentPeriodEnd!: Date | null;

  /** Whether the subscription ends with the period. @example false */
  cancelAtPeriodEnd!: boolean;

  /** The certain end of the subscription, if there is one. */
  endsAt!: Date | null;

  /** When it ended. */
  endedAt!: Date | null;

  /** The end of the trial, past or future. */
  trialEnd!: Date | null;

  /** The number of seats; null if the plan is not per seat, whatever quantity the provider reports. @example 10 */
  @ApiProperty({ type: 'integer', nullable: true })
  seats!: number | null;

  /** The price of a period before tax, in minor units of the currency. @example 1000 */
  @ApiProperty({ type: 'integer', nullable: true })
  amount!: number | null;

  /** ISO 4217. @example "USD" */
  currency!: string | null;

  /** The reason of the grant. @example "Design partner" */
  note!: string | null;

  /** When the subscription started. */
  startedAt!: Date | null;

  /** When the row was created. */
  createdAt!: Date;

  static override of(subscription: EvaluatedSubscription): SubscriptionResponse {
    const { row, seats } = subscription;
    const { ownerKind, ownerId, providerCustomerId, currentPeriodStart, currentPeriodEnd, cancelAtPeriodEnd, endsAt, endedAt } = row;
    const { trialEnd, amount, currency, note, startedAt, createdAt } = row;
    return {
      ...ConsideredSubscriptionResponse.of(subscription),
      ownerKind,
      ownerId,
      providerCustomerId,
      currentPeriodStart,
      currentPeriodEnd,
      cancelAtPeriodEnd,
      endsAt,
      endedAt,
      trialEnd,
      seats,
      amount,
      currency,
      note,
      startedAt,
      createdAt,
    };
  }
}

@ApiSchema({ description: 'A page of subscriptions.' })
export class SubscriptionListResponse {
  /** The page, newest first. */
  data!: SubscriptionResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<EvaluatedSubscription>): SubscriptionListResponse {
    return { data: data.map(SubscriptionResponse.of), nextCursor };
  }
}

import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsOptional, IsString, IsUUID, Length, Max, MaxLength, Min, ValidateIf } from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { IsEndTime } from '../platform/time/is-time.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { OWNER_KINDS, type OwnerKind } from '../owners/owner.js';
import { booleanOf, whenGiven } from '../platform/http/bodies/transforms.js';
import { type Provider, PROVIDERS } from './customers/billing-customers.table.js';
import { PAYMENT_STATES, type PaymentState } from './payments/payment-state.js';
import { ConsideredSubscriptionResponse } from './subscriptions.dto.js';
import type { ConsideredSubscription } from './subscriptions.service.js';
import { SUBSCRIPTION_STATUSES, type SubscriptionStatus } from './subscriptions.table.js';

export class ListSubscriptionsQuery extends ListQuery {
  /** Only those of this user or organization. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid', required: false })
  @IsOptional()
  @IsUUID()
  ownerId?: string;

  /** Only those of this provider. */
  @ApiProperty({ enum: PROVIDERS, required: false, description: 'Only those of this provider.', example: 'polar' })
  @IsOptional()
  @IsIn(PROVIDERS)
  provider?: Provider;

  /** Only those that stand so. */
  @ApiProperty({ enum: SUBSCRIPTION_STATUSES, required: false, description: 'Only those that stand so.', example: 'active' })
  @IsOptional()
  @IsIn(SUBSCRIPTION_STATUSES)
  status?: SubscriptionStatus;

  /** Only those of which it is known whose they are, or not. @example false */
  @IsOptional()
  @Transform(booleanOf)
  @IsBoolean()
  owned?: boolean;

  /** Only those with a payment that stands so: `disputed`, to answer it. */
  @ApiProperty({ enum: PAYMENT_STATES, required: false, description: 'Only those with a payment that stands so.', example: 'disputed' })
  @IsOptional()
  @IsIn(PAYMENT_STATES)
  paymentStatus?: PaymentState;
}

class OwnerRequest {
  /** The organization that gets it. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid', required: false })
  @ValidateIf(whenGiven)
  @IsUUID()
  organizationId?: string;

  /** The user who gets it, where it is no organization's. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid', required: false })
  @ValidateIf(whenGiven)
  @IsUUID()
  userId?: string;
}

@ApiSchema({ description: 'Whose it is: an organization or a user.' })
export class LinkSubscriptionRequest extends OwnerRequest {}

@ApiSchema({ description: 'A plan for somebody, without a provider.' })
export class GrantSubscriptionRequest extends OwnerRequest {
  /** The plan, by its tier or another name of it. @example "pro" */
  @IsString()
  @Length(1, 100)
  tier!: string;

  /** When it ends; never when left out. A time with a zone: a day alone is refused. @example "2027-01-01T00:00:00Z" */
  @ValidateIf(whenGiven)
  @IsEndTime()
  endsAt?: Date;

  /** How many people it is for. Only for a plan that is per seat; refused for others. @example 10 */
  @ApiProperty({ type: 'integer', required: false })
  @ValidateIf(whenGiven)
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  seats?: number;

  /** Why. @example "Design partner" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(500)
  note?: string;
}

@ApiSchema({ description: 'A subscription as operators see it.' })
export class SubscriptionResponse extends ConsideredSubscriptionResponse {
  /** Whether it is a user's or an organization's; null while it is not known whose it is. */
  @ApiProperty({ enum: OWNER_KINDS, nullable: true, example: 'organization' })
  ownerKind!: OwnerKind | null;

  /** Whose it is. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  ownerId!: string | null;

  /** The provider's customer who pays. @example "cus_8VbC6JDZzPEqfBPUdpj0K" */
  providerCustomerId!: string | null;

  /** When the period began that is paid for. */
  currentPeriodStart!: Date | null;

  /** When it ends. */
  currentPeriodEnd!: Date | null;

  /** Whether it ends then for good. @example false */
  cancelAtPeriodEnd!: boolean;

  /** When it will end for certain. */
  endsAt!: Date | null;

  /** When it did. */
  endedAt!: Date | null;

  /** When its trial ends, or ended. */
  trialEnd!: Date | null;

  /** How many it is for; null where its plan is not per seat, whatever quantity its provider gives. @example 10 */
  @ApiProperty({ type: 'integer', nullable: true })
  seats!: number | null;

  /** What it costs each period before tax, in minor units of the currency. @example 1000 */
  @ApiProperty({ type: 'integer', nullable: true })
  amount!: number | null;

  /** ISO 4217. @example "USD" */
  currency!: string | null;

  /** Why it was granted. @example "Design partner" */
  note!: string | null;

  /** When it began. */
  startedAt!: Date | null;

  /** When we first heard of it. */
  createdAt!: Date;

  static override of(subscription: ConsideredSubscription): SubscriptionResponse {
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
  /** The page, the newest first. */
  data!: SubscriptionResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<ConsideredSubscription>): SubscriptionListResponse {
    return { data: data.map(SubscriptionResponse.of), nextCursor };
  }
}

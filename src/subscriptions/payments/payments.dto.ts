import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsIn, IsOptional } from 'class-validator';
import type { Page } from '../../platform/pagination/cursors.service.js';
import { ListQuery } from '../../platform/pagination/list.dto.js';
import { type Provider, PROVIDERS } from '../customers/billing-customers.table.js';
import type { SubscriptionPayment } from './payments.repository.js';
import { PAYMENT_KINDS, PAYMENT_STATES, type PaymentKind, type PaymentState } from './payments.table.js';

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

  static of(payment: SubscriptionPayment): PaymentResponse {
    const { id, kind, provider, providerPaymentId, ofProviderPaymentId, subscriptionId, amount, currency, state, occurredAt } = payment;
    return { id, kind, provider, providerPaymentId, ofProviderPaymentId, subscriptionId, amount, currency, status: state, occurredAt };
  }
}

@ApiSchema({ description: 'A page of payments, refunds and disputes.' })
export class PaymentListResponse {
  /** The page, latest first. */
  data!: PaymentResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<SubscriptionPayment>): PaymentListResponse {
    return { data: data.map(PaymentResponse.of), nextCursor };
  }
}

import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { SignedIn } from '../access/access.decorators.js';
import { CurrentUser, type UserPrincipal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../platform/problems/problems.errors.js';
import { Idempotent, type IdempotentCall, IdempotentRequest } from '../idempotency/idempotency.decorators.js';
import { IdempotencyService } from '../idempotency/idempotency.service.js';
import { CheckoutService } from './checkout/checkout.service.js';
import { CheckoutRequest, CheckoutResponse, PortalRequest, PortalResponse } from './checkout/checkout.dto.js';
import { EffectiveSubscriptionResponse } from './entitlements/entitlements.dto.js';
import { EntitlementsService } from './entitlements/entitlements.service.js';
import { ListPaymentsQuery, PaymentListResponse } from './payments/payments.dto.js';
import { PaymentsService } from './payments/payments.service.js';
import {
  AlreadySubscribed,
  BillingProviderAway,
  BillingProviderRefused,
  CheckoutUnavailable,
  NoBillingCustomer,
} from './subscriptions.errors.js';

@Controller('v1/subscription')
@TagDescription('Your own plan and its payments.')
export class SubscriptionsController {
  constructor(
    private readonly entitlements: EntitlementsService,
    private readonly payments: PaymentsService,
    private readonly checkouts: CheckoutService,
    private readonly idempotency: IdempotencyService,
  ) {}

  /** Reads your own plan: its limits, its end and its reason. */
  @Get()
  @SignedIn()
  async getOwnSubscription(@CurrentUser() { userId }: UserPrincipal): Promise<EffectiveSubscriptionResponse> {
    return EffectiveSubscriptionResponse.of(await this.entitlements.getEffective({ kind: 'user', id: userId }));
  }

  /** Lists your payments, refunds and disputes, latest first. */
  @Get('payments')
  @SignedIn()
  @Problems(InvalidCursor)
  async listOwnPayments(@CurrentUser() { userId }: UserPrincipal, @Query() query: ListPaymentsQuery): Promise<PaymentListResponse> {
    return PaymentListResponse.of(await this.payments.list({ kind: 'user', id: userId }, query));
  }

  /** Opens a checkout for your own plan. */
  @Post('checkout')
  @SignedIn()
  @Idempotent()
  @Problems(AlreadySubscribed, CheckoutUnavailable, BillingProviderAway, BillingProviderRefused)
  async openOwnCheckout(
    @CurrentUser() caller: UserPrincipal,
    @IdempotentRequest() call: IdempotentCall,
    @Body() body: CheckoutRequest,
  ): Promise<CheckoutResponse> {
    return this.idempotency.onceWithoutTransaction(call, async () =>
      CheckoutResponse.of(await this.checkouts.open({ kind: 'user', id: caller.userId }, body, call, caller)),
    );
  }

  /** Opens the provider's portal to change or cancel your plan. */
  @Post('portal')
  @HttpCode(200)
  @SignedIn()
  @Problems(CheckoutUnavailable, NoBillingCustomer, BillingProviderAway, BillingProviderRefused)
  async openOwnPortal(@CurrentUser() { userId, actor }: UserPrincipal, @Body() body: PortalRequest): Promise<PortalResponse> {
    return PortalResponse.of(await this.checkouts.openPortal({ kind: 'user', id: userId }, body, actor));
  }
}

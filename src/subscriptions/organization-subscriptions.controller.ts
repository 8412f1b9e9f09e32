import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { Roles, Scopes } from '../access/access.decorators.js';
import { Caller, CurrentUser, type Principal, type UserPrincipal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
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

@Controller('v1/organizations/:organizationId/subscription')
@TagDescription('The plan of an organization and its payments.')
export class OrganizationSubscriptionsController {
  constructor(
    private readonly entitlements: EntitlementsService,
    private readonly payments: PaymentsService,
    private readonly checkouts: CheckoutService,
    private readonly idempotency: IdempotencyService,
  ) {}

  /** Reads the plan of the organization: its limits, its end and its reason. */
  @Get()
  @Roles('admin', 'member')
  @Scopes('subscription:read')
  async getSubscription(@Param('organizationId', IdPipe) id: string): Promise<EffectiveSubscriptionResponse> {
    return EffectiveSubscriptionResponse.of(await this.entitlements.getEffective({ kind: 'organization', id }));
  }

  /** Lists the organization's payments, refunds and disputes, latest first. */
  @Get('payments')
  @Roles('admin')
  @Scopes('subscription:read')
  @Problems(InvalidCursor)
  async listPayments(@Param('organizationId', IdPipe) id: string, @Query() query: ListPaymentsQuery): Promise<PaymentListResponse> {
    return PaymentListResponse.of(await this.payments.list({ kind: 'organization', id }, query));
  }

  /** Opens a checkout for a plan for the organization. */
  @Post('checkout')
  @Roles('admin')
  @Idempotent()
  @Problems(AlreadySubscribed, CheckoutUnavailable, BillingProviderAway, BillingProviderRefused)
  async openCheckout(
    @CurrentUser() caller: UserPrincipal,
    @Param('organizationId', IdPipe) id: string,
    @IdempotentRequest() call: IdempotentCall,
    @Body() body: CheckoutRequest,
  ): Promise<CheckoutResponse> {
    return this.idempotency.onceWithoutTransaction(call, async () =>
      CheckoutResponse.of(await this.checkouts.open({ kind: 'organization', id }, body, call, caller)),
    );
  }

  /** Opens the provider's portal to change or cancel the organization's plan. */
  @Post('portal')
  @HttpCode(200)
  @Roles('admin')
  @Problems(CheckoutUnavailable, NoBillingCustomer, BillingProviderAway, BillingProviderRefused)
  async openPortal(
    @Caller() { actor }: Principal,
    @Param('organizationId', IdPipe) id: string,
    @Body() body: PortalRequest,
  ): Promise<PortalResponse> {
    return PortalResponse.of(await this.checkouts.openPortal({ kind: 'organization', id }, body, actor));
  }
}

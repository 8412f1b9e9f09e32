import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { Operator } from '../access/access.decorators.js';
import { Caller, type Principal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import { Idempotent, type IdempotentCall, IdempotentRequest } from '../idempotency/idempotency.decorators.js';
import { IdempotencyService } from '../idempotency/idempotency.service.js';
import {
  GrantSubscriptionRequest,
  LinkSubscriptionRequest,
  ListSubscriptionsQuery,
  SubscriptionListResponse,
  SubscriptionResponse,
} from './operator-subscriptions.dto.js';
import { NotAGrant, OwnerNotFound, SubscriptionNotFound } from './subscriptions.errors.js';
import { SubscriptionsService } from './subscriptions.service.js';

@Controller('v1/subscriptions')
@TagDescription('All subscriptions, and grants, for operators.')
export class OperatorSubscriptionsController {
  constructor(
    private readonly subscriptions: SubscriptionsService,
    private readonly idempotency: IdempotencyService,
  ) {}

  /** Lists all subscriptions and their effect, newest first. */
  @Get()
  @Operator()
  @Problems(InvalidCursor)
  async listSubscriptions(@Query() query: ListSubscriptionsQuery): Promise<SubscriptionListResponse> {
    return SubscriptionListResponse.of(await this.subscriptions.list(query));
  }

  /** Grants a plan without a billing provider. */
  @Post()
  @Operator()
  @Idempotent()
  @Problems(OwnerNotFound)
  async grantSubscription(
    @Caller() { actor }: Principal,
    @IdempotentRequest() call: IdempotentCall,
    @Body() body: GrantSubscriptionRequest,
  ): Promise<SubscriptionResponse> {
    return this.idempotency.once(call, async (tx) => SubscriptionResponse.of(await this.subscriptions.grant(body, actor, tx)));
  }

  /** Links a subscription to its owner. Later events of its provider do not change the owner. */
  @Post(':subscriptionId/link')
  @HttpCode(200)
  @Operator()
  @Problems(SubscriptionNotFound, OwnerNotFound)
  async linkSubscription(
    @Caller() { actor }: Principal,
    @Param('subscriptionId', IdPipe) subscriptionId: string,
    @Body() body: LinkSubscriptionRequest,
  ): Promise<SubscriptionResponse> {
    return SubscriptionResponse.of(await this.subscriptions.link(subscriptionId, body, actor));
  }

  /** Ends a grant now. Subscriptions of a provider end at the provider. */
  @Delete(':subscriptionId')
  @HttpCode(204)
  @Operator()
  @Problems(SubscriptionNotFound, NotAGrant)
  async endGrant(@Caller() { actor }: Principal, @Param('subscriptionId', IdPipe) subscriptionId: string): Promise<void> {
    await this.subscriptions.endGrant(subscriptionId, actor);
  }
}

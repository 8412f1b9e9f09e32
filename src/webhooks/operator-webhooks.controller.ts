import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { Operator } from '../access/access.decorators.js';
import { Caller, type Principal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import {
  ListWebhookEventsQuery,
  ReplayedWebhookEventsResponse,
  ReplayWebhookEventsRequest,
  WebhookEventDetailResponse,
  WebhookEventListResponse,
  WebhookEventResponse,
} from './webhooks.dto.js';
import { WebhookBodyDeleted, WebhookEventNotFound } from './webhooks.errors.js';
import { WebhooksService } from './webhooks.service.js';

@Controller('v1/webhook-events')
@TagDescription('Received messages and their processing, for operators.')
export class OperatorWebhooksController {
  constructor(private readonly webhooks: WebhooksService) {}

  /** Lists the messages of providers, last received first. */
  @Get()
  @Operator()
  @Problems(InvalidCursor)
  async listWebhookEvents(@Query() query: ListWebhookEventsQuery): Promise<WebhookEventListResponse> {
    return WebhookEventListResponse.of(await this.webhooks.list(query));
  }

  /** Reads one message, with its secrets masked. */
  @Get(':webhookEventId')
  @Operator()
  @Problems(WebhookEventNotFound)
  async getWebhookEvent(@Param('webhookEventId', IdPipe) webhookEventId: string): Promise<WebhookEventDetailResponse> {
    return WebhookEventDetailResponse.of(await this.webhooks.get(webhookEventId));
  }

  /** Processes all matching events again, in the background. A replay undoes nothing newer. */
  @Post('replay')
  @HttpCode(202)
  @Operator()
  async replayWebhookEvents(
    @Caller() { actor }: Principal,
    @Body() filters: ReplayWebhookEventsRequest,
  ): Promise<ReplayedWebhookEventsResponse> {
    return { replayed: await this.webhooks.replayAll(filters, actor) };
  }

  /** Processes one message again, in the background, with new attempts. */
  @Post(':webhookEventId/replay')
  @HttpCode(202)
  @Operator()
  @Problems(WebhookEventNotFound, WebhookBodyDeleted)
  async replayWebhookEvent(
    @Caller() { actor }: Principal,
    @Param('webhookEventId', IdPipe) webhookEventId: string,
  ): Promise<WebhookEventResponse> {
    return WebhookEventResponse.of(await this.webhooks.replay(webhookEventId, actor));
  }
}

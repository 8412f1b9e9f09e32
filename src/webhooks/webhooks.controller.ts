import { Controller, HttpCode, Param, Post, Req } from '@nestjs/common';
import { ApiHeader, ApiParam } from '@nestjs/swagger';
import type { Request } from 'express';
import { Limited, Public } from '../access/access.decorators.js';
import { RateLimited } from '../access/access.errors.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import {
  BodyTooLarge,
  RequestTimeout,
  RouteNotFound,
  ServiceUnavailable,
  UnsupportedMediaType,
} from '../platform/problems/problems.errors.js';
import { WebhookReceiptResponse } from './webhooks.dto.js';
import { InvalidSignature } from './webhooks.errors.js';
import { WebhooksService } from './webhooks.service.js';

/** Providers are admitted by their signature. Only failed deliveries are limited: a limit on valid ones would lose events. */
@Controller('webhooks')
@Limited()
@TagDescription('The endpoints for events of identity and billing providers.')
export class WebhooksController {
  constructor(private readonly webhooks: WebhooksService) {}

  /**
   * Receives a provider's signed message (Standard Webhooks; also with `svix-*` headers). It is stored before the response
   * and processed right after. Without a configured secret for the provider, the response is 404.
   */
  @Post(':provider')
  @HttpCode(202)
  @Public()
  @ApiParam({ name: 'provider', description: 'The provider.', example: 'clerk' })
  @ApiHeader({
    name: 'webhook-id',
    description: 'The id of the message. `svix-id` works too.',
    required: false,
    schema: { type: 'string', maxLength: 255 },
  })
  @ApiHeader({
    name: 'webhook-timestamp',
    description: 'The time of sending, in Unix seconds. `svix-timestamp` works too.',
    required: false,
    schema: { type: 'string', maxLength: 12 },
  })
  @ApiHeader({
    name: 'webhook-signature',
    description: '`v1,` and a signature in base64, or several separated by spaces. `svix-signature` works too.',
    required: false,
    schema: { type: 'string', maxLength: 2000 },
  })
  @Problems(InvalidSignature, RateLimited, RouteNotFound, RequestTimeout, BodyTooLarge, ServiceUnavailable, UnsupportedMediaType)
  async receiveWebhook(@Param('provider') provider: string, @Req() { headers, body }: Request): Promise<WebhookReceiptResponse> {
    return { outcome: await this.webhooks.receive(provider, headers, Buffer.isBuffer(body) ? body : Buffer.alloc(0)) };
  }
}

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

/** Providers send here, and the signature lets them in. Only failed deliveries are counted: an allowance for good ones would lose events. */
@Controller('webhooks')
@Limited()
@TagDescription('Where identity and billing providers send what happened.')
export class WebhooksController {
  constructor(private readonly webhooks: WebhooksService) {}

  /**
   * Takes a provider's signed message (Standard Webhooks; `svix-*` headers too). It is stored when this answers,
   * and processed right after. There is no such address for a provider whose secret is not configured.
   */
  @Post(':provider')
  @HttpCode(202)
  @Public()
  @ApiParam({ name: 'provider', description: 'Who sends.', example: 'clerk' })
  @ApiHeader({ name: 'webhook-id', description: 'The message, or `svix-id`.', required: false, schema: { type: 'string', maxLength: 255 } })
  @ApiHeader({
    name: 'webhook-timestamp',
    description: 'When it was sent, in Unix seconds, or `svix-timestamp`.',
    required: false,
    schema: { type: 'string', maxLength: 12 },
  })
  @ApiHeader({
    name: 'webhook-signature',
    description: '`v1,` and a signature in base64, or several with spaces between, or `svix-signature`.',
    required: false,
    schema: { type: 'string', maxLength: 2000 },
  })
  @Problems(InvalidSignature, RateLimited, RouteNotFound, RequestTimeout, BodyTooLarge, ServiceUnavailable, UnsupportedMediaType)
  async receiveWebhook(@Param('provider') provider: string, @Req() { headers, body }: Request): Promise<WebhookReceiptResponse> {
    return { outcome: await this.webhooks.receive(provider, headers, Buffer.isBuffer(body) ? body : Buffer.alloc(0)) };
  }
}

import { Module } from '@nestjs/common';
import { MeterExportsModule } from '../../usage/exports/meter-exports.module.js';
import { SubscriptionsModule } from '../../subscriptions/subscriptions.module.js';
import { WebhooksModule } from '../../webhooks/webhooks.module.js';
import { DodoApi } from './dodo-api.client.js';
import { DodoMeter } from './dodo-meter.client.js';
import { DodoWebhooks } from './dodo-webhooks.service.js';

@Module({ imports: [WebhooksModule, SubscriptionsModule, MeterExportsModule], providers: [DodoWebhooks, DodoApi, DodoMeter] })
export class DodoModule {}

import { Module } from '@nestjs/common';
import { MetersModule } from '../../meters/meters.module.js';
import { SubscriptionsModule } from '../../subscriptions/subscriptions.module.js';
import { WebhooksModule } from '../webhooks.module.js';
import { DodoApi } from './dodo-api.js';
import { DodoMeter } from './dodo-meter.js';
import { DodoWebhooks } from './dodo-webhooks.js';

@Module({ imports: [WebhooksModule, SubscriptionsModule, MetersModule], providers: [DodoWebhooks, DodoApi, DodoMeter] })
export class DodoWebhooksModule {}

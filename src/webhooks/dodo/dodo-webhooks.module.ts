import { Module } from '@nestjs/common';
import { SubscriptionsModule } from '../../subscriptions/subscriptions.module.js';
import { WebhooksModule } from '../webhooks.module.js';
import { DodoApi } from './dodo-api.js';
import { DodoWebhooks } from './dodo-webhooks.js';

@Module({ imports: [WebhooksModule, SubscriptionsModule], providers: [DodoWebhooks, DodoApi] })
export class DodoWebhooksModule {}

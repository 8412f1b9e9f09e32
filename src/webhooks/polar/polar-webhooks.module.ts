import { Module } from '@nestjs/common';
import { SubscriptionsModule } from '../../subscriptions/subscriptions.module.js';
import { WebhooksModule } from '../webhooks.module.js';
import { PolarApi } from './polar-api.js';
import { PolarWebhooks } from './polar-webhooks.js';

@Module({ imports: [WebhooksModule, SubscriptionsModule], providers: [PolarWebhooks, PolarApi] })
export class PolarWebhooksModule {}

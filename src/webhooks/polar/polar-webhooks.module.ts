import { Module } from '@nestjs/common';
import { MetersModule } from '../../meters/meters.module.js';
import { SubscriptionsModule } from '../../subscriptions/subscriptions.module.js';
import { WebhooksModule } from '../webhooks.module.js';
import { PolarApi } from './polar-api.js';
import { PolarMeter } from './polar-meter.js';
import { PolarWebhooks } from './polar-webhooks.js';

@Module({ imports: [WebhooksModule, SubscriptionsModule, MetersModule], providers: [PolarWebhooks, PolarApi, PolarMeter] })
export class PolarWebhooksModule {}

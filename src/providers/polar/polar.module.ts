import { Module } from '@nestjs/common';
import { MeterExportsModule } from '../../usage/exports/meter-exports.module.js';
import { SubscriptionsModule } from '../../subscriptions/subscriptions.module.js';
import { WebhooksModule } from '../../webhooks/webhooks.module.js';
import { PolarApi } from './polar-api.client.js';
import { PolarMeter } from './polar-meter.client.js';
import { PolarWebhooks } from './polar-webhooks.service.js';

@Module({ imports: [WebhooksModule, SubscriptionsModule, MeterExportsModule], providers: [PolarWebhooks, PolarApi, PolarMeter] })
export class PolarModule {}

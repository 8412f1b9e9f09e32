import { createHash, type KeyObject } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { type EventVersion, EventRank } from '../../sync/event-version.js';
import { Config } from '../../platform/config/config.js';
import type { Queryable } from '../../platform/database/database.js';
import { SyncedSubscriptionsService } from '../../subscriptions/sync/synced-subscriptions.service.js';
import { parseObject } from '../fields.schema.js';
import type { Envelope, InboxEvent, WebhookProvider } from '../../webhooks/webhook-provider.port.js';
import { WebhooksService } from '../../webhooks/webhooks.service.js';
import {
  dodoDatedObject,
  parseDodoDispute,
  dodoEnvelope,
  parseDodoPayment,
  parseDodoRefund,
  parseDodoSubscription,
} from './dodo.schema.js';
import { DAY_MS } from '../../platform/time/durations.js';

const named = (noun: string, ...verbs: string[]) => verbs.map((verb) => `${noun}.${verb}`);

/** Each event contains the whole subscription. Its name decides nothing, and may contradict its content. */
const SUBSCRIPTION = named(
  'subscription',
  'active',
  'renewed',
  'on_hold',
  'past_due',
  'paused',
  'unpaused',
  'cancelled',
  'failed',
  'expired',
  'plan_changed',
  'updated',
  'update_payment_method',
);
const PAYMENT = named('payment', 'succeeded', 'failed', 'processing', 'cancelled');
const REFUND = named('refund', 'succeeded', 'failed');
const DISPUTE = named('dispute', 'opened', 'expired', 'accepted', 'cancelled', 'challenged', 'won', 'lost');

/** They contain purchased license keys and links. */
const WITH_SECRETS = new Set(['license_key.created', ...named('entitlement_grant', 'created', 'delivered', 'failed', 'revoked')]);

/** Known types without an effect. */
const WITHOUT_EFFECT = [
  ...WITH_SECRETS,
  ...named('payout', 'created', 'on_hold', 'in_progress', 'failed', 'success'),
  ...named('credit', 'added', 'deducted', 'expired', 'rolled_over', 'rollover_forfeited'),
  ...named('credit', 'overage_charged', 'overage_reset', 'manual_adjustment', 'balance_low'),
  ...named('abandoned_checkout', 'detected', 'recovered'),
  ...named('dunning', 'started', 'recovered'),
];

/**
 * Dodo's events: https://docs.dodopayments.com/developer-resources/webhooks The data may be as new as the delivery, while the timestamp
 * is that of the change. Ordering by the timestamp still converges: the last change sends the last event, and its data is at least as
 * new.
 */
@Injectable()
export class DodoWebhooks implements WebhookProvider {
  readonly name = 'dodo';
  readonly types = new Set([...SUBSCRIPTION, ...PAYMENT, ...REFUND, ...DISPUTE, ...WITHOUT_EFFECT]);
  readonly keys: KeyObject[];
  private readonly graceMs: number;

  constructor(
    private readonly subscriptions: SyncedSubscriptionsService,
    webhooks: WebhooksService,
    config: Config,
  ) {
    this.keys = config.dodoWebhookKeys;
    this.graceMs = config.billingGraceDays * DAY_MS;
    // In the constructor: commands of the CLI do not run `onModuleInit`.
    webhooks.register(this);
  }

  parseEnvelope(payload: unknown, body: Buffer): Envelope {
    const { type, timestamp, data } = parseObject(dodoEnvelope, payload);
    const eventAt = timestamp ?? dodoDatedObject.safeParse(data).data?.created_at ?? '-infinity';
    if (!WITH_SECRETS.has(type)) return { type, eventAt };
    return { type, eventAt, redactedPayload: { type, timestamp, sha256: createHash('sha256').update(body).digest('hex') } };
  }

  async apply({ type, eventAt: at, messageId, payload, actor }: InboxEvent, db: Queryable): Promise<boolean> {
    const { data } = parseObject(dodoEnvelope, payload);
    const version: EventVersion = { at, modifiedAt: '-infinity', rank: EventRank.update, messageId };
    const context = { version, actor };
    if (SUBSCRIPTION.includes(type))
      await this.subscriptions.apply(parseDodoSubscription(data, { at, graceMs: this.graceMs }), context, db);
    else if (PAYMENT.includes(type)) await this.subscriptions.applyPayment(parseDodoPayment(data, at), context, db);
    else if (REFUND.includes(type)) await this.subscriptions.applyPayment(parseDodoRefund(data, at), context, db);
    else if (DISPUTE.includes(type)) await this.subscriptions.applyPayment(parseDodoDispute(data, at), context, db);
    else return false;
    return true;
  }
}

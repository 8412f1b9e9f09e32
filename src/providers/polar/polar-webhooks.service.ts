import type { KeyObject } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { type EventVersion, EventRank } from '../../sync/event-version.js';
import { Config } from '../../platform/config/config.js';
import type { Queryable } from '../../platform/database/database.js';
import { SyncedSubscriptionsService } from '../../subscriptions/sync/synced-subscriptions.service.js';
import { parseObject } from '../fields.schema.js';
import type { Envelope, InboxEvent, WebhookProvider } from '../../webhooks/webhook-provider.port.js';
import { WebhooksService } from '../../webhooks/webhooks.service.js';
import {
  parsePolarCustomer,
  polarDatedObject,
  polarEnvelope,
  parsePolarOrder,
  parsePolarRefund,
  parsePolarSubscription,
} from './polar.schema.js';
import { DAY_MS } from '../../platform/time/durations.js';

const named = (noun: string, ...verbs: string[]) => verbs.map((verb) => `${noun}.${verb}`);

/** Each event contains the whole subscription; its name decides nothing. */
const SUBSCRIPTION = named(
  'subscription',
  'created',
  'active',
  'updated',
  'cycled',
  'canceled',
  'uncanceled',
  'past_due',
  'revoked',
  'paused',
  'resumed',
  'migrated',
);
const CUSTOMER = named('customer', 'created', 'updated', 'deleted');
const ORDER = named('order', 'created', 'paid', 'updated', 'refunded');
const REFUND = named('refund', 'created', 'updated');

/** Known types without an effect. */
const WITHOUT_EFFECT = [
  // A summary of other events, without the dates that decide.
  'customer.state_changed',
  ...named('checkout', 'created', 'updated', 'expired'),
  ...named('customer_seat', 'assigned', 'claimed', 'revoked'),
  ...named('member', 'created', 'updated', 'deleted'),
  ...named('benefit', 'created', 'updated'),
  ...named('benefit_grant', 'created', 'updated', 'cycled', 'revoked'),
  ...named('product', 'created', 'updated'),
  ...named('discount', 'created', 'updated', 'deleted'),
  'organization.updated',
];

/** Polar's events: https://polar.sh/docs/integrate/webhooks/events */
@Injectable()
export class PolarWebhooks implements WebhookProvider {
  readonly name = 'polar';
  readonly types = new Set([...SUBSCRIPTION, ...CUSTOMER, ...ORDER, ...REFUND, ...WITHOUT_EFFECT]);
  readonly keys: KeyObject[];
  private readonly graceMs: number;

  constructor(
    private readonly subscriptions: SyncedSubscriptionsService,
    webhooks: WebhooksService,
    config: Config,
  ) {
    this.keys = config.polarWebhookKeys;
    this.graceMs = config.billingGraceDays * DAY_MS;
    // In the constructor: commands of the CLI do not run `onModuleInit`.
    webhooks.register(this);
  }

  parseEnvelope(payload: unknown): Envelope {
    const { type, timestamp, data } = parseObject(polarEnvelope, payload);
    // Older events have no timestamp.
    const dated = polarDatedObject.safeParse(data).data;
    return { type, eventAt: timestamp ?? dated?.modified_at ?? dated?.created_at ?? '-infinity' };
  }

  async apply({ type, eventAt: at, messageId, payload, actor }: InboxEvent, db: Queryable): Promise<boolean> {
    const { data } = parseObject(polarEnvelope, payload);
    const modifiedAt = polarDatedObject.safeParse(data).data?.modified_at ?? '-infinity';
    const version: EventVersion = { at, modifiedAt, rank: rankOf(type), messageId };
    if (SUBSCRIPTION.includes(type))
      await this.subscriptions.apply(parsePolarSubscription(data, { at, graceMs: this.graceMs }), { version, actor }, db);
    else if (CUSTOMER.includes(type)) {
      const customer = parsePolarCustomer(data);
      await this.subscriptions.applyCustomer(
        { ...customer, isDeleted: customer.isDeleted || type === 'customer.deleted' },
        { version, actor },
        db,
      );
    } else if (ORDER.includes(type)) await this.subscriptions.applyPayment(parsePolarOrder(data, at), { version, actor }, db);
    else if (REFUND.includes(type)) await this.subscriptions.applyPayment(parsePolarRefund(data, at), { version, actor }, db);
    else return false;
    return true;
  }
}

function rankOf(type: string): EventRank {
  if (type.endsWith('.deleted')) return EventRank.delete;
  return type.endsWith('.created') ? EventRank.create : EventRank.update;
}

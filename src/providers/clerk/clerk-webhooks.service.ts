import { createHash, type KeyObject } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { EventRank } from '../../sync/event-version.js';
import { Config } from '../../platform/config/config.js';
import type { Queryable } from '../../platform/database/database.js';
import { parseObject } from '../fields.schema.js';
import type { Envelope, InboxEvent, WebhookProvider } from '../../webhooks/webhook-provider.port.js';
import { WebhooksService } from '../../webhooks/webhooks.service.js';
import { clerkEnvelope } from './clerk.schema.js';
import { ClerkSync, type ClerkChange } from './clerk-sync.service.js';

/** Mails and text messages contain one-time codes. */
const WITH_CODES = new Set(['email.created', 'sms.created']);

/** Known types without an effect. */
const WITHOUT_EFFECT = [
  ...WITH_CODES,
  'session.pending',
  'waitlistEntry.created',
  'waitlistEntry.updated',
  ...['organizationDomain', 'role', 'permission'].flatMap((noun) => ['created', 'updated', 'deleted'].map((verb) => `${noun}.${verb}`)),
  // Clerk's own billing, which we do not use.
  ...['created', 'updated', 'active', 'pastDue'].map((verb) => `subscription.${verb}`),
  ...[
    'created',
    'updated',
    'active',
    'canceled',
    'upcoming',
    'ended',
    'expired',
    'abandoned',
    'incomplete',
    'pastDue',
    'freeTrialEnding',
  ].map((verb) => `subscriptionItem.${verb}`),
  'paymentAttempt.created',
  'paymentAttempt.updated',
];

type Device = { ipAddress?: string; userAgent?: string };
type Effect = (sync: ClerkSync, change: ClerkChange, db: Queryable, device: Device) => Promise<void>;

const EFFECTS = new Map<string, Effect>([
  ['user.created', (sync, change, db) => sync.applyUser(change, db)],
  ['user.updated', (sync, change, db) => sync.applyUser(change, db)],
  ['user.deleted', (sync, change, db) => sync.applyUserDeletion(change, db)],
  ['organization.created', (sync, change, db) => sync.applyOrganization(change, db)],
  ['organization.updated', (sync, change, db) => sync.applyOrganization(change, db)],
  ['organization.deleted', (sync, change, db) => sync.applyOrganizationDeletion(change, db)],
  ['organizationMembership.created', (sync, change, db) => sync.applyMembership(change, db)],
  ['organizationMembership.updated', (sync, change, db) => sync.applyMembership(change, db)],
  ['organizationMembership.deleted', (sync, change, db) => sync.applyMembership(change, db)],
  ['organizationInvitation.created', (sync, change, db) => sync.applyInvitation(change, 'pending', db)],
  ['organizationInvitation.accepted', (sync, change, db) => sync.applyInvitation(change, 'accepted', db)],
  ['organizationInvitation.revoked', (sync, change, db) => sync.applyInvitation(change, 'revoked', db)],
  ['session.created', (sync, change, db, device) => sync.applySession(change, false, device, db)],
  ['session.ended', (sync, change, db, device) => sync.applySession(change, true, device, db)],
  ['session.removed', (sync, change, db, device) => sync.applySession(change, true, device, db)],
  ['session.revoked', (sync, change, db, device) => sync.applySession(change, true, device, db)],
]);

/** Clerk's events: https://clerk.com/docs/guides/development/webhooks/overview */
@Injectable()
export class ClerkWebhooks implements WebhookProvider {
  readonly name = 'clerk';
  readonly types = new Set([...EFFECTS.keys(), ...WITHOUT_EFFECT]);
  readonly keys: KeyObject[];

  constructor(
    private readonly sync: ClerkSync,
    webhooks: WebhooksService,
    private readonly config: Config,
  ) {
    this.keys = config.clerkWebhookKeys;
    // In the constructor: commands of the CLI do not run `onModuleInit`.
    webhooks.register(this);
  }

  parseEnvelope(payload: unknown, body: Buffer): Envelope {
    const { type, timestamp, instance_id: instanceId } = parseObject(clerkEnvelope, payload);
    const eventAt = timestamp?.toISOString() ?? '-infinity';
    if (!WITH_CODES.has(type)) return { type, eventAt };
    const sha256 = createHash('sha256').update(body).digest('hex');
    return { type, eventAt, redactedPayload: { object: 'event', type, timestamp: timestamp?.getTime(), instance_id: instanceId, sha256 } };
  }

  async apply({ type, eventAt: at, messageId, payload, actor }: InboxEvent, db: Queryable): Promise<boolean> {
    const { data, instance_id: instanceId, event_attributes: attributes } = parseObject(clerkEnvelope, payload);
    const effect = EFFECTS.get(type);
    // Development and production instances may send to the same endpoint by mistake.
    const isForeign = instanceId !== null && this.config.clerkInstanceId !== undefined && instanceId !== this.config.clerkInstanceId;
    if (effect === undefined || isForeign) return false;
    const { client_ip: ipAddress, user_agent: userAgent } = attributes?.http_request ?? {};
    const device = { ipAddress: ipAddress ?? undefined, userAgent: userAgent ?? undefined };
    await effect(this.sync, { data, at, rank: rankOf(type), messageId, actor }, db, device);
    return true;
  }
}

function rankOf(type: string): EventRank {
  if (type.endsWith('.deleted')) return EventRank.delete;
  return type.endsWith('.created') ? EventRank.create : EventRank.update;
}

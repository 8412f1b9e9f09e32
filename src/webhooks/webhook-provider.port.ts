import type { KeyObject } from 'node:crypto';
import type { Actor } from '../access/principal.js';
import type { Queryable } from '../platform/database/database.js';

/** The fields of a webhook that the inbox itself reads. */
export interface Envelope {
  type: string;
  /** When the event happened, ISO 8601. */
  eventAt: string;
  /** Stored instead of a body with secrets, such as one-time codes. */
  redactedPayload?: object;
}

export interface InboxEvent {
  messageId: string;
  type: string;
  eventAt: string;
  payload: unknown;
  /** For the audit log: the system, with the message id as the request id. */
  actor: Actor;
}

/** A signed body that we cannot parse. The event is quarantined. */
export class MalformedPayload extends Error {}

/**
 * A provider of webhooks. It translates its payloads into snapshots for the services that own the rows. Its constructor
 * calls `WebhooksService.register()`.
 */
export interface WebhookProvider {
  /** The last segment of the endpoint's path. */
  readonly name: string;
  /** HMAC keys, newest first. Without any, the endpoint does not exist. */
  readonly keys: KeyObject[];
  readonly types: ReadonlySet<string>;
  parseEnvelope(payload: unknown, body: Buffer): Envelope;
  /**
   * Applies an event in the given transaction. Events may be repeated and in any order. Returns false for a type without an effect.
   * @throws {MalformedPayload}
   */
  apply(event: InboxEvent, db: Queryable): Promise<boolean>;
}

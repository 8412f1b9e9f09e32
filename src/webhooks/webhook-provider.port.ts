import type { KeyObject } from 'node:crypto';
import type { Actor } from '../access/principal.js';
import type { Queryable } from '../platform/database/database.js';

/** What stands around every event of a provider. */
export interface Envelope {
  type: string;
  /** ISO 8601; the moment the event tells of. */
  eventAt: string;
  /** Instead of the body, where that holds what must not be stored: one-time codes above all. */
  redactedPayload?: object;
}

/** One event on its way to the rows that it changes. */
export interface InboxEvent {
  messageId: string;
  type: string;
  eventAt: string;
  payload: unknown;
  /** Who the audit log says it was: the system, with the message's id. */
  actor: Actor;
}

/** A body that is signed but says nothing we understand. It is kept and shown, and nothing comes of it. */
export class MalformedPayload extends Error {}

/**
 * A sender of webhooks: its secrets, and how its payloads become snapshots that the owning services take.
 * Registered with `WebhooksService.register()`.
 */
export interface WebhookProvider {
  /** Last part of the endpoint's path. */
  readonly name: string;
  /** HMAC keys, newest first; with none there is no endpoint. */
  readonly keys: KeyObject[];
  /** The events that it is known to send. */
  readonly types: ReadonlySet<string>;
  /** @throws {MalformedPayload} */
  parseEnvelope(payload: unknown, body: Buffer): Envelope;
  /**
   * Brings the event's effect about, in the given transaction; the same event may come again and any other may
   * have come before. Answers false for one that changes nothing here by its kind.
   *
   * @throws {MalformedPayload}
   */
  apply(event: InboxEvent, db: Queryable): Promise<boolean>;
}

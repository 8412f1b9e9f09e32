import { problem } from '../platform/problems/problem.js';

export class InvalidSignature extends problem(
  401,
  'invalid_signature',
  'The signature matches none of our secrets, or the message was sent more than five minutes ago.',
) {}
export class WebhookEventNotFound extends problem(404, 'webhook_event_not_found', 'There is no such webhook event.') {}
export class WebhookBodyDeleted extends problem(
  409,
  'webhook_body_gone',
  'The body of this event is no longer stored, so it cannot be processed again. Send it again from the provider.',
) {}

import { everyone, operators, type Expectation } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  receiveWebhook: {
    access: everyone(401),
    path: { provider: 'clerk' },
    audit: { none: 'written where an event has its effect (test/webhooks/webhooks.e2e-spec.ts)' },
  },
  listWebhookEvents: { access: operators(200) },
  getWebhookEvent: { access: operators(200) },
  replayWebhookEvents: {
    access: operators(202),
    body: () => ({ status: 'dead', type: 'user.created' }),
    audit: {
      action: 'webhook_event.replayed',
      target: () => 'many',
      changes: { status: { after: 'dead' }, type: { after: 'user.created' } },
      organization: null,
    },
  },
  replayWebhookEvent: {
    access: operators(202),
    audit: {
      action: 'webhook_event.replayed',
      target: ({ webhookEventId }) => webhookEventId,
      changes: { status: { before: 'ignored', after: 'pending' } },
      organization: null,
    },
  },
};

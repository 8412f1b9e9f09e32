import type { models } from '@polar-sh/sdk/2026-10';
import type { PolarAccount } from './polar-account.js';
import { invalid } from './polar-refusals.js';
import { type Answer, answerOf } from './simulated-api.js';
import { microsAt, microsOf } from './virtual-time.js';

export type PolarUsage = Partial<models.EventCreateCustomer & models.EventCreateExternalCustomer> & { name: string };

/** `POST /v1/events/ingest`: one event that is wrong refuses them all, one that is known is counted and left out. */
export function polarIngest(account: PolarAccount) {
  const events: PolarUsage[] = [];
  const known = new Set<string>();

  const wrongOf = (event: PolarUsage): [string, string, unknown] | undefined => {
    const { name, customer_id: id, external_customer_id: externalId, timestamp, organization_id: organizationId } = event;
    if (typeof name !== 'string' || name.length > 128) return ['name', 'String should have at most 128 characters', name];
    if ((id === undefined) === (externalId === undefined)) return ['customer_id', 'Field required', undefined];
    if (id !== undefined && !account.customers.has(id)) return ['customer_id', 'Customer does not exist.', id];
    if (organizationId != null)
      return ['organization_id', 'Setting organization_id is disallowed when using an organization token.', organizationId];
    if (timestamp !== undefined && microsAt(timestamp) > microsOf(account.now()))
      return ['timestamp', 'Timestamp must be in the past.', timestamp];
    return undefined;
  };

  const take = (body: unknown): Answer => {
    const batch = (body as { events: PolarUsage[] }).events;
    for (const [index, event] of batch.entries()) {
      const wrong = wrongOf(event);
      if (wrong !== undefined) return invalid(['body', 'events', index, wrong[0]], wrong[1], wrong[2]);
    }
    const before = events.length;
    for (const event of batch) {
      const { external_id: id } = event;
      if (id != null && known.has(id)) continue;
      if (id != null) known.add(id);
      events.push(event);
    }
    const inserted = events.length - before;
    return answerOf({ inserted, duplicates: batch.length - inserted });
  };

  return { events, take };
}

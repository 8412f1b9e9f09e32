import type { models } from '@polar-sh/sdk/2026-10';
import type { PolarAccount } from './polar-account.js';
import { invalidAll, isUuid, type ValidationError } from './polar-refusals.js';
import { type Answer, answerOf } from './simulated-api.js';
import { microsAt, microsOf } from './virtual-time.js';

export type PolarUsage = Partial<models.EventCreateCustomer & models.EventCreateExternalCustomer> & { name: string };

const SCHEMAS = { customer_id: 'EventCreateCustomer', external_customer_id: 'EventCreateExternalCustomer' } as const;

/**
 * `POST /v1/events/ingest` (server/polar/event/{schemas,service}.py): one invalid event rejects the batch, and all invalid events are
 * reported. A known event is counted as a duplicate.
 */
export function polarIngest(account: PolarAccount) {
  const events: PolarUsage[] = [];
  const known = new Set<string>();

  /** The violations of both event schemas, because Polar reports each schema's errors. */
  const schemaErrors = (event: PolarUsage, index: number): ValidationError[] => {
    const { name, timestamp, metadata } = event;
    const common: [string, string, unknown][] = [];
    if (typeof name !== 'string' || name.length > 128) common.push(['name', 'String should have at most 128 characters', name]);
    if (timestamp !== undefined && !/(Z|[+-]\d\d:\d\d)$/.test(timestamp))
      common.push(['timestamp', 'Input should have timezone info', timestamp]);
    else if (timestamp !== undefined && microsAt(timestamp) > microsOf(account.now()))
      common.push(['timestamp', 'Value error, Timestamp must be in the past.', timestamp]);
    if (!isMetadata(metadata)) common.push(['metadata', 'Input should be a valid string', metadata]);
    const bySchema = (['customer_id', 'external_customer_id'] as const).map((key): ValidationError[] => {
      const at = (field: string) => ['body', 'events', index, SCHEMAS[key], field];
      const own: ValidationError[] = event[key] === undefined ? [[at(key), 'Field required', null]] : [];
      if (key === 'customer_id' && event[key] !== undefined && !isUuid(event[key]))
        own.push([at(key), 'Input should be a valid UUID', event[key]]);
      return [...own, ...common.map(([field, message, input]): ValidationError => [at(field), message, input])];
    });
    return bySchema.some((wrong) => wrong.length === 0) ? [] : bySchema.flat();
  };

  const unknown = ({ customer_id: id, organization_id: organizationId }: PolarUsage, index: number): ValidationError[] => {
    const at = (field: string) => ['body', 'events', index, field];
    if (organizationId != null)
      return [[at('organization_id'), 'Setting organization_id is disallowed when using an organization token.', organizationId]];
    const customer = id === undefined ? undefined : account.customers.get(id);
    return id === undefined || customer?.deleted_at === null ? [] : [[at('customer_id'), 'Customer does not exist.', id]];
  };

  const ingest = (body: unknown): Answer => {
    const batch = (body as { events: PolarUsage[] }).events;
    for (const check of [schemaErrors, unknown]) {
      const wrong = batch.flatMap(check);
      if (wrong.length > 0) return invalidAll(wrong);
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

  return { events, ingest };
}

/** Scalars, except where Polar has own schemas (server/polar/kit/metadata.py). */
function isMetadata(metadata: models.EventMetadataInput = {}): boolean {
  const { _llm: llm, _cost: _, ...own } = metadata;
  const pairs = Object.entries(own);
  const isScalar = (value: unknown) => ['number', 'boolean'].includes(typeof value) || (typeof value === 'string' && value.length <= 500);
  const counts = ['input_tokens', 'output_tokens', 'total_tokens'] as const;
  const isLlm = llm === undefined || (typeof llm.vendor === 'string' && counts.every((count) => Number.isInteger(llm[count])));
  return isLlm && pairs.length <= 50 && pairs.every(([key, value]) => key.length <= 40 && isScalar(value));
}

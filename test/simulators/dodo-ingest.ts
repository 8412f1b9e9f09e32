import type DodoPayments from 'dodopayments';
import type { DodoAccount } from './dodo-account.js';
import { type Answer, answerOf } from './simulated-api.js';

const HOUR = 3_600_000;
const FIVE_MINUTES = 300_000;

type Refusal = (status: number, code: string, message: string) => Answer;

/**
 * `POST /events/ingest` by its published rules: at most 1000 events without repeated ids, none older than an hour; a known event is
 * ignored. That one invalid event rejects the batch is documented for repeated ids only, and the response never names it.
 */
export function dodoIngest(account: DodoAccount, refusal: Refusal) {
  const events = new Map<string, DodoPayments.EventInput>();

  const wrongOf = ({
    event_id: id,
    event_name: name,
    customer_id: customerId,
    timestamp,
    metadata,
  }: DodoPayments.EventInput): string | undefined => {
    if ([id, name, customerId].some((text) => typeof text !== 'string' || text === '')) return 'Missing field';
    if (!account.customers.has(customerId)) return 'Customer not found';
    const age = timestamp == null ? 0 : account.now().getTime() - Date.parse(timestamp);
    if (!(age <= HOUR && age >= -FIVE_MINUTES)) return 'Timestamp is out of range';
    const pairs = Object.entries(metadata ?? {});
    if (pairs.some(([, value]) => !['string', 'number', 'boolean'].includes(typeof value))) return 'Metadata is not flat';
    if (pairs.length > 50 || pairs.some(([key, value]) => key.length > 100 || String(value).length > 500)) return 'Metadata is too large';
    return undefined;
  };

  const ingest = (body: unknown): Answer => {
    const batch = (body as DodoPayments.UsageEventIngestParams).events;
    if (batch.length < 1 || batch.length > 1000) return refusal(422, 'INVALID_REQUEST_BODY', 'From 1 to 1000 events are allowed');
    if (new Set(batch.map((event) => event.event_id)).size < batch.length) {
      return refusal(422, 'INVALID_REQUEST_BODY', 'Duplicate event_id in request');
    }
    const wrong = batch.map(wrongOf).find((one) => one !== undefined);
    if (wrong !== undefined) return refusal(422, 'INVALID_REQUEST_BODY', wrong);
    const fresh = batch.filter((event) => !events.has(event.event_id));
    for (const event of fresh) events.set(event.event_id, event);
    return answerOf({ ingested_count: fresh.length });
  };

  return { events, ingest };
}

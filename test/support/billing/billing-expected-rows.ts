import type { PaymentSnapshot, SubscriptionSnapshot } from '../../../src/subscriptions/sync/billing-provider.port.js';
import { parseDodoDispute, parseDodoPayment, parseDodoRefund, parseDodoSubscription } from '../../../src/providers/dodo/dodo.schema.js';
import { parsePolarOrder, parsePolarRefund, parsePolarSubscription } from '../../../src/providers/polar/polar.schema.js';
import type { BillingRows } from './billing-rows.js';
import { type ProvidersWorld, isOrganization, type OwnerName, OWNERS, rendered } from '../providers-world.js';

/** The default of `BILLING_GRACE_DAYS`. */
const GRACE_MS = 7 * 86_400_000;

type OwnerHints = SubscriptionSnapshot['ownerHints'];

/**
 * The expected rows, read from the providers' state and not from any event.
 *
 * @param isAllReported whether every object was delivered or read from the API; otherwise only delivered objects count
 */
export function expectedBillingRows(world: ProvidersWorld, { isAllReported = false } = {}): BillingRows {
  const known = knownOwners(world);
  const { polar, dodo, events } = world;
  const messages = new Set(events.map(({ messageId }) => messageId));
  const expected: BillingRows = {
    subscriptions: {},
    customers: {},
    payments: {},
    periods: {},
    messages: { kept: { count: messages.size } },
  };
  const reportedIds = new Set(events.map(({ objectId }) => objectId));
  const bodies = rendered(events).map(({ body }) => body);
  const isReported = (id: string) => isAllReported || reportedIds.has(id);
  const isMentioned = (id: string) => isAllReported || bodies.some((body) => body.includes(id));
  for (const { id, external_id: externalId, metadata, deleted_at: deletedAt } of polar.customers.values()) {
    const owner = ownerBy({ externalId, customerMetadata: metadata }, known);
    if (isMentioned(id)) expected.customers[id] = { deleted_at: deletedAt !== null, owner };
  }
  for (const { customer_id: id, metadata } of dodo.customers.values())
    if (isMentioned(id)) expected.customers[id] = { owner: ownerBy({ customerMetadata: metadata }, known) };
  const when = { at: '-infinity', graceMs: GRACE_MS };
  for (const snapshot of [
    ...polar.listSubscriptions().map((one) => parsePolarSubscription(one, when)),
    ...[...dodo.subscriptions.values()].map((one) => parseDodoSubscription(one, when)),
  ]) {
    const { customer, ownerHints, providerSubscriptionId, isGraceEstimated: _, pastTrial, ...fields } = snapshot;
    if (!isReported(providerSubscriptionId)) continue;
    const current = { start: fields.currentPeriodStart!, end: fields.currentPeriodEnd! };
    for (const { start, end } of pastTrial === undefined ? [current] : [current, pastTrial])
      expected.periods[`${providerSubscriptionId} ${start.toISOString()}`] = { ends_at: end };
    const owner = ownerBy(ownerHints, known) ?? expected.customers[customer.providerCustomerId]?.['owner'];
    expected.subscriptions[providerSubscriptionId] = { ...inColumns(fields), provider_customer_id: customer.providerCustomerId, owner };
  }
  for (const snapshot of paymentsOf(world)) {
    const { customer, ownerHints, kind, providerPaymentId, ...fields } = snapshot;
    if (!isReported(providerPaymentId)) continue;
    const parent =
      expected.subscriptions[fields.providerSubscriptionId ?? ''] ?? expected.payments[`payment ${fields.ofProviderPaymentId}`];
    const owner = ownerBy(ownerHints, known) ?? parent?.['owner'] ?? expected.customers[customer.providerCustomerId]?.['owner'];
    expected.payments[`${kind} ${providerPaymentId}`] = { ...inColumns(fields), owner };
  }
  return expected;
}

/** Payments before their refunds and disputes. */
function paymentsOf({ polar, dodo }: ProvidersWorld): PaymentSnapshot[] {
  const at = '-infinity';
  return [
    ...polar.listOrders().map((one) => parsePolarOrder(one, at)),
    ...[...polar.refunds.values()].map((one) => parsePolarRefund(one, at)),
    ...[...dodo.payments.values()].map((one) => parseDodoPayment(one, at)),
    ...[...dodo.refunds.values()].map((one) => parseDodoRefund(one, at)),
    ...[...dodo.disputes.values()].map((one) => parseDodoDispute(one, at)),
  ];
}

/** The owners that exist or existed: a deleted owner stays the owner. */
function knownOwners(world: ProvidersWorld): Map<string, OwnerName> {
  const { organizations, users } = world.clerk;
  const isKnown = (owner: OwnerName) =>
    owner.startsWith('local') || (isOrganization(owner) ? organizations : users).some(({ isReported }) => isReported);
  return new Map(OWNERS.filter(isKnown).map((owner) => [world.idOf(owner), owner]));
}

/** An organization precedes a user, and a claim of the purchase precedes one of the customer. */
function ownerBy({ metadata, externalId, customerMetadata }: OwnerHints, known: Map<string, OwnerName>): OwnerName | null {
  const ids = [
    metadata?.['organizationId'],
    metadata?.['userId'],
    externalId,
    customerMetadata?.['organizationId'],
    customerMetadata?.['userId'],
  ];
  return ids.map((id) => known.get(id as string)).find((owner) => owner !== undefined) ?? null;
}

/** The fields as PostgreSQL writes a row as JSON. */
function inColumns(fields: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value as unknown]),
  );
}

/** The differences between rows and expected rows. */
export function billingMismatches(rows: BillingRows, expected: Partial<BillingRows>): string[] {
  const wrong: string[] = [];
  for (const [kind, objects] of Object.entries(expected) as [keyof BillingRows, Record<string, object>][]) {
    for (const [id, wanted] of Object.entries(objects)) {
      for (const [column, value] of Object.entries(wanted)) {
        const found = (rows[kind] as Record<string, Record<string, unknown>>)[id]?.[column];
        const isSame = value instanceof Date ? typeof found === 'string' && new Date(found).getTime() === value.getTime() : found === value;
        if (!isSame) wrong.push(`${kind} ${id}: ${column} is ${JSON.stringify(found)} and must be ${JSON.stringify(value)}`);
      }
    }
  }
  return wrong;
}

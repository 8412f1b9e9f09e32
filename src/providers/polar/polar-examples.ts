import type { ExampleNames, Examples } from '../examples.js';
import { DAY_MS } from '../../platform/time/durations.js';

const MONTH_MS = 30 * DAY_MS;

/** Example events of Polar for `webhooks send`. */
export const POLAR_EXAMPLES: Examples = {
  'customer.created': customerOf,
  'subscription.created': (names, now) => subscriptionOf(names, now, { status: 'incomplete' }),
  'subscription.active': (names, now) => subscriptionOf(names, now),
  'subscription.canceled': (names, now) =>
    subscriptionOf(names, now, { cancel_at_period_end: true, canceled_at: iso(now), ends_at: iso(now + MONTH_MS) }),
  'subscription.uncanceled': (names, now) => subscriptionOf(names, now),
  'subscription.past_due': (names, now) => subscriptionOf(names, now, { status: 'past_due', past_due_at: iso(now) }),
  'subscription.revoked': (names, now) =>
    subscriptionOf(names, now, { status: 'canceled', canceled_at: iso(now), ends_at: iso(now), ended_at: iso(now) }),
  'order.paid': orderOf,
};

function customerOf({ organization, email }: ExampleNames, now: number): object {
  return {
    id: `cus_${organization}`,
    created_at: iso(now),
    modified_at: null,
    metadata: {},
    external_id: organization,
    email,
    email_verified: true,
    type: 'individual',
    name: 'Ada Lovelace',
    deleted_at: null,
  };
}

function subscriptionOf(names: ExampleNames, now: number, changes: object = {}): object {
  const { organization, subscription, product } = names;
  return {
    id: subscription,
    created_at: iso(now),
    modified_at: iso(now),
    metadata: { organizationId: organization },
    amount: 1900,
    currency: 'usd',
    recurring_interval: 'month',
    recurring_interval_count: 1,
    status: 'active',
    current_period_start: iso(now),
    current_period_end: iso(now + MONTH_MS),
    trial_start: null,
    trial_end: null,
    cancel_at_period_end: false,
    canceled_at: null,
    started_at: iso(now),
    ends_at: null,
    ended_at: null,
    past_due_at: null,
    customer_id: `cus_${organization}`,
    product_id: product,
    seats: null,
    customer: customerOf(names, now),
    ...changes,
  };
}

function orderOf(names: ExampleNames, now: number): object {
  const { organization, subscription, product } = names;
  return {
    id: `order_${subscription}`,
    created_at: iso(now),
    modified_at: iso(now),
    status: 'paid',
    paid: true,
    total_amount: 1900,
    currency: 'usd',
    billing_reason: 'subscription_create',
    customer_id: `cus_${organization}`,
    product_id: product,
    subscription_id: subscription,
    metadata: { organizationId: organization },
    customer: customerOf(names, now),
  };
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

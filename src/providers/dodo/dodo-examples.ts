import type { ExampleNames, Examples } from '../examples.js';
import { DAY_MS } from '../../platform/time/durations.js';

const MONTH_MS = 30 * DAY_MS;

/** Example events of Dodo for `webhooks send`. */
export const DODO_EXAMPLES: Examples = {
  'subscription.active': (names, now) => subscriptionOf(names, now),
  'subscription.on_hold': (names, now) => subscriptionOf(names, now, { status: 'on_hold' }),
  'subscription.past_due': (names, now) => subscriptionOf(names, now, { status: 'past_due', past_due_ends_at: iso(now + MONTH_MS / 10) }),
  'subscription.cancelled': (names, now) => subscriptionOf(names, now, { status: 'cancelled', cancelled_at: iso(now) }),
  'payment.succeeded': paymentOf,
};

function customerOf({ organization, email }: ExampleNames): object {
  return {
    customer_id: `cus_${organization}`,
    email,
    name: 'Ada Lovelace',
    phone_number: null,
    metadata: { organizationId: organization },
  };
}

function subscriptionOf(names: ExampleNames, now: number, changes: object = {}): object {
  return {
    payload_type: 'Subscription',
    subscription_id: names.subscription,
    status: 'active',
    customer: customerOf(names),
    product_id: names.product,
    quantity: 3,
    addons: [],
    currency: 'USD',
    recurring_pre_tax_amount: 4900,
    created_at: iso(now),
    previous_billing_date: iso(now),
    next_billing_date: iso(now + MONTH_MS),
    cancel_at_next_billing_date: false,
    cancelled_at: null,
    expires_at: iso(now + 120 * MONTH_MS),
    past_due_ends_at: null,
    trial_period_days: 0,
    metadata: { organizationId: names.organization },
    ...changes,
  };
}

function paymentOf(names: ExampleNames, now: number): object {
  return {
    payload_type: 'Payment',
    payment_id: `pay_${names.subscription}`,
    status: 'succeeded',
    customer: customerOf(names),
    subscription_id: names.subscription,
    total_amount: 4900,
    currency: 'USD',
    created_at: iso(now),
    metadata: { organizationId: names.organization },
  };
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

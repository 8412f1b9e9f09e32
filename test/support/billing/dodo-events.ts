import { randomBytes } from 'node:crypto';
import type DodoPayments from 'dodopayments';
import { addInterval, dodoTime, microsAt, microsOf } from '../../simulators/virtual-time.js';

/** The envelope of every Dodo event. */
export interface DodoEvent {
  business_id: string;
  type: string;
  timestamp: string;
  data: object;
}

/** Webhooks contain the end of the grace period, API responses do not. */
export type DodoSubscription = DodoPayments.Subscription & { past_due_ends_at: string | null };

export const DODO_BUSINESS_ID = 'bus_sampleSampleSample';

const BILLING: DodoPayments.BillingAddress = {
  city: 'Sampletown',
  country: 'US',
  state: 'NY',
  street: '1 Sample Street',
  zipcode: '12345',
};

const newId = (prefix: string) => `${prefix}_${randomBytes(12).toString('hex').slice(0, 21)}`;

const now = () => dodoTime(microsOf(new Date()));

export function dodoCustomer(given: Partial<DodoPayments.Customer> = {}): DodoPayments.Customer {
  const id = given.customer_id ?? newId('cus');
  return {
    customer_id: id,
    business_id: DODO_BUSINESS_ID,
    created_at: now(),
    email: `${id}@example.com`,
    name: 'A Customer',
    phone_number: null,
    metadata: {},
    ...given,
  };
}

/** A customer as embedded in other objects. */
export function dodoCustomerDetails({ customer_id, email, name, metadata = {}, phone_number = null } = dodoCustomer()) {
  return { customer_id, email, name, metadata, phone_number };
}

/** Active for a month from now by default. */
export function dodoSubscription(given: Partial<DodoSubscription> = {}): DodoSubscription {
  const createdAt = given.created_at ?? now();
  const start = given.previous_billing_date ?? createdAt;
  return {
    subscription_id: newId('sub'),
    status: 'active',
    customer: dodoCustomerDetails(),
    product_id: newId('pdt'),
    quantity: 1,
    addons: [],
    currency: 'USD',
    recurring_pre_tax_amount: 1000,
    tax_inclusive: false,
    tax_id: null,
    created_at: createdAt,
    previous_billing_date: start,
    next_billing_date: later(start, 1),
    cancel_at_next_billing_date: false,
    cancelled_at: null,
    cancellation_feedback: null,
    cancellation_comment: null,
    expires_at: later(createdAt, 120),
    paused_at: null,
    past_due_ends_at: null,
    trial_period_days: 0,
    trial_amount: null,
    payment_frequency_count: 1,
    payment_frequency_interval: 'Month',
    subscription_period_count: 10,
    subscription_period_interval: 'Year',
    on_demand: false,
    has_payment_method: true,
    payment_method_id: newId('pm'),
    scheduled_change: null,
    discount_id: null,
    discount_cycles_remaining: null,
    discounts: null,
    meters: [],
    credit_entitlement_cart: [],
    meter_credit_entitlement_cart: [],
    billing: BILLING,
    brand_id: DODO_BUSINESS_ID,
    customer_business_name: null,
    custom_field_responses: null,
    metadata: {},
    ...given,
  };
}

/** Succeeded; the subscription determines its owner and product. */
export function dodoPayment(given: Partial<DodoPayments.Payment> = {}, subscription = dodoSubscription()): DodoPayments.Payment {
  const id = given.payment_id ?? newId('pay');
  const amount = given.total_amount ?? subscription.recurring_pre_tax_amount;
  return {
    payment_id: id,
    status: 'succeeded',
    business_id: DODO_BUSINESS_ID,
    brand_id: DODO_BUSINESS_ID,
    created_at: now(),
    updated_at: null,
    customer: subscription.customer,
    billing: BILLING,
    currency: subscription.currency,
    total_amount: amount,
    tax: 0,
    settlement_amount: amount,
    settlement_currency: subscription.currency,
    settlement_tax: 0,
    subscription_id: subscription.subscription_id,
    subscription_ids: [subscription.subscription_id],
    is_multi_subscription: false,
    is_update_payment_method: false,
    retry_attempt: 0,
    checkout_session_id: null,
    payment_link: null,
    payment_method: 'card',
    payment_method_id: subscription.payment_method_id,
    payment_method_type: 'credit',
    payment_provider: 'dodo',
    card_holder_name: null,
    card_issuing_country: 'US',
    card_last_four: '4242',
    card_network: 'VISA',
    card_type: 'CREDIT',
    error_code: null,
    error_message: null,
    invoice_id: `inv_${id.slice(4, 12)}`,
    invoice_url: `https://test.dodopayments.com/invoices/payments/${id}`,
    digital_products_delivered: false,
    discounts: null,
    product_cart: null,
    refunds: [],
    refund_status: null,
    disputes: [],
    custom_field_responses: null,
    metadata: subscription.metadata,
    ...given,
  };
}

export function dodoRefund(given: Partial<DodoPayments.Refund> = {}, payment = dodoPayment()): DodoPayments.Refund {
  return {
    refund_id: newId('ref'),
    status: 'succeeded',
    business_id: DODO_BUSINESS_ID,
    brand_id: DODO_BUSINESS_ID,
    created_at: now(),
    payment_id: payment.payment_id,
    customer: payment.customer,
    amount: payment.total_amount,
    currency: payment.currency,
    is_partial: given.amount != null && given.amount < payment.total_amount,
    reason: null,
    metadata: {},
    ...given,
  };
}

export function dodoDispute(given: Partial<DodoPayments.GetDispute> = {}, payment = dodoPayment()): DodoPayments.GetDispute {
  return {
    dispute_id: newId('dp'),
    dispute_stage: 'dispute',
    dispute_status: 'dispute_opened',
    business_id: DODO_BUSINESS_ID,
    brand_id: DODO_BUSINESS_ID,
    created_at: now(),
    payment_id: payment.payment_id,
    payment_provider: 'dodo',
    customer: payment.customer,
    // A string, unlike the amount of a refund.
    amount: String(payment.total_amount),
    currency: payment.currency,
    is_resolved_by_rdr: null,
    reason: 'general',
    remarks: null,
    ...given,
  };
}

const PAYLOAD_TYPES: Record<string, string> = {
  payment: 'Payment',
  subscription: 'Subscription',
  refund: 'Refund',
  dispute: 'Dispute',
  license_key: 'LicenseKey',
  payout: 'Payout',
  credit: 'CreditLedgerEntry',
  abandoned_checkout: 'AbandonedCheckout',
  dunning: 'DunningAttempt',
  entitlement_grant: 'EntitlementGrant',
};

export function dodoEvent(type: string, data: object, { at = now() }: { at?: string } = {}): DodoEvent {
  const payloadType = PAYLOAD_TYPES[type.split('.')[0]!];
  const typed = { ...(payloadType !== undefined && { payload_type: payloadType }), ...data };
  return { business_id: DODO_BUSINESS_ID, type, timestamp: at, data: typed };
}

const later = (time: string, months: number) => dodoTime(addInterval(microsAt(time), 'month', months));

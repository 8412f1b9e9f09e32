import { randomUUID } from 'node:crypto';
import type { models } from '@polar-sh/sdk/2026-10';
import { addInterval, microsAt, microsOf, polarTime } from '../../simulators/virtual-time.js';
import { POLAR_ORGANIZATION_ID, polarProduct } from './polar-events.js';

/** An open checkout of one product. */
export function polarCheckout(given: Partial<models.Checkout> = {}, product = polarProduct()): models.Checkout {
  const createdAt = given.created_at ?? polarTime(microsOf(new Date()));
  const id = given.id ?? randomUUID();
  const price = product.prices[0] ?? null;
  const seats = given.seats ?? null;
  const unit = price !== null && 'price_amount' in price ? price.price_amount : 1000;
  const amount = unit * (seats ?? 1);
  const isTrial = product.trial_interval !== null;
  const optional = 'optional' as const;
  return {
    id,
    created_at: createdAt,
    modified_at: null,
    custom_field_data: {},
    payment_processor: 'stripe',
    status: 'open',
    client_secret: `polar_c_${id.replaceAll('-', '')}`,
    url: `https://sandbox.polar.sh/checkout/polar_c_${id.replaceAll('-', '')}`,
    expires_at: polarTime(addInterval(microsAt(createdAt), 'day', 1)),
    success_url: 'https://app.example.com/success',
    return_url: null,
    embed_origin: null,
    amount,
    seats,
    min_seats: null,
    max_seats: null,
    units: null,
    min_units: null,
    max_units: null,
    discount_amount: 0,
    net_amount: amount,
    tax_amount: null,
    tax_behavior: null,
    total_amount: amount,
    currency: 'usd',
    allow_trial: isTrial,
    active_trial_interval: product.trial_interval,
    active_trial_interval_count: product.trial_interval_count,
    trial_end: null,
    organization_id: POLAR_ORGANIZATION_ID,
    product_id: product.id,
    product_price_id: price?.id ?? null,
    discount_id: null,
    allow_discount_codes: true,
    require_billing_address: false,
    is_discount_applicable: true,
    is_free_product_price: amount === 0,
    is_payment_required: amount > 0 && !isTrial,
    is_payment_setup_required: true,
    is_payment_form_required: true,
    customer_id: null,
    is_business_customer: false,
    customer_name: null,
    customer_email: null,
    customer_ip_address: null,
    customer_billing_name: null,
    customer_billing_address: null,
    customer_tax_id: null,
    locale: null,
    payment_method_type: null,
    payment_processor_metadata: {},
    billing_address_fields: {
      country: 'required',
      state: optional,
      city: optional,
      postal_code: optional,
      line1: optional,
      line2: optional,
    },
    trial_interval: product.trial_interval,
    trial_interval_count: product.trial_interval_count,
    metadata: {},
    external_customer_id: null,
    products: [product],
    product,
    product_price: price,
    prices: { [product.id]: product.prices },
    discount: null,
    subscription_id: null,
    attached_custom_fields: [],
    customer_metadata: {},
    ...given,
  };
}

import { DODO_BUSINESS_ID, type DodoSubscription } from './dodo-events.js';

/** The object that the event reports. */
interface NoiseAround {
  /** 21 letters, without a prefix. */
  id: string;
  at: string;
  subscription: DodoSubscription;
}

const business = { business_id: DODO_BUSINESS_ID, brand_id: DODO_BUSINESS_ID };

const owned = ({ subscription }: NoiseAround) => ({
  customer_id: subscription.customer.customer_id,
  subscription_id: subscription.subscription_id,
});

const ledgerEntry = (transactionType: string, isCredit: boolean) => (around: NoiseAround) => ({
  ...business,
  id: `cle_${around.id}`,
  customer_id: around.subscription.customer.customer_id,
  credit_entitlement_id: `cde_${around.id}`,
  grant_id: `cgr_${around.id}`,
  transaction_type: transactionType,
  is_credit: isCredit,
  amount: '1000',
  balance_before: '0',
  balance_after: '1000',
  overage_before: '0',
  overage_after: '0',
  created_at: around.at,
  description: null,
  metadata: {},
  reference_id: null,
  reference_type: null,
});

const balanceLow = (around: NoiseAround) => ({
  ...owned(around),
  brand_id: DODO_BUSINESS_ID,
  credit_entitlement_id: `cde_${around.id}`,
  credit_entitlement_name: 'Credits',
  available_balance: '90',
  subscription_credits_amount: '1000',
  threshold_amount: '100',
  threshold_percent: 10,
});

const payout = (status: string) => (around: NoiseAround) => ({
  business_id: DODO_BUSINESS_ID,
  payout_id: `pyt_${around.id}`,
  status,
  amount: 10_000,
  fee: 100,
  tax: 0,
  refunds: 0,
  chargebacks: 0,
  currency: 'USD',
  name: 'A merchant',
  payment_method: 'bank_transfer',
  payout_document_url: null,
  remarks: null,
  created_at: around.at,
  updated_at: around.at,
});

const grant = (status: string) => (around: NoiseAround) => ({
  ...business,
  ...owned(around),
  id: `egr_${around.id}`,
  entitlement_id: `ent_${around.id}`,
  integration_type: 'discord',
  status,
  payment_id: null,
  metadata: {},
  created_at: around.at,
  updated_at: around.at,
});

/** The payload contains the license key itself. */
const licenseKey = (around: NoiseAround) => ({
  ...business,
  ...owned(around),
  id: `lic_${around.id}`,
  key: `simulated-${around.id}`,
  status: 'active',
  source: 'auto',
  product_id: around.subscription.product_id,
  payment_id: null,
  activations_limit: null,
  instances_count: 0,
  expires_at: null,
  created_at: around.at,
});

const abandoned = (status: string) => (around: NoiseAround) => ({
  brand_id: DODO_BUSINESS_ID,
  customer_id: around.subscription.customer.customer_id,
  payment_id: `pay_${around.id}`,
  status,
  abandoned_at: around.at,
  abandonment_reason: 'checkout_incomplete',
  recovered_payment_id: null,
});

/** Events that change no subscription, and one of an unknown type. */
export const DODO_NOISE: Record<string, (around: NoiseAround) => object> = {
  'license_key.created': licenseKey,
  'payout.created': payout('not_initiated'),
  'payout.on_hold': payout('on_hold'),
  'payout.in_progress': payout('in_progress'),
  'payout.failed': payout('failed'),
  'payout.success': payout('success'),
  'credit.added': ledgerEntry('credit_added', true),
  'credit.deducted': ledgerEntry('credit_deducted', false),
  'credit.expired': ledgerEntry('credit_expired', false),
  'credit.rolled_over': ledgerEntry('credit_rolled_over', true),
  'credit.rollover_forfeited': ledgerEntry('rollover_forfeited', false),
  'credit.overage_charged': ledgerEntry('overage_charged', false),
  'credit.overage_reset': ledgerEntry('overage_reset', true),
  'credit.manual_adjustment': ledgerEntry('manual_adjustment', true),
  'credit.balance_low': balanceLow,
  'entitlement_grant.created': grant('Pending'),
  'entitlement_grant.delivered': grant('Delivered'),
  'entitlement_grant.failed': grant('Failed'),
  'entitlement_grant.revoked': grant('Revoked'),
  'abandoned_checkout.detected': abandoned('abandoned'),
  'abandoned_checkout.recovered': abandoned('recovered'),
  'telescope.aligned': ({ id }) => ({ id }),
};

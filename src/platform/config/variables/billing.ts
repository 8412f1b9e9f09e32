import path from 'node:path';
import { z } from 'zod';
import { polarSecrets, webhookSecrets } from '../secret-types.js';
import { amount, list, origin, text } from '../value-types.js';
import type { Variables } from '../variable.js';

/** From `dist/` and from `src/`. */
const PLANS_FILE = path.resolve(import.meta.dirname, '../../../../plans.json');

const meterEvent = z.string().trim().max(128, 'must be at most 128 characters');

export const POLAR_VARIABLES = {
  polarWebhookKeys: {
    name: 'POLAR_WEBHOOK_SECRET',
    type: polarSecrets,
    default: '',
    secret: true,
    whenUnset: 'made once, in development',
    description: 'The secret of the webhook endpoint, several while one replaces another. Without it there is no `/webhooks/polar`.',
  },
  polarAccessToken: {
    name: 'POLAR_ACCESS_TOKEN',
    type: text,
    secret: true,
    description: 'Switches on checkout, customer portal and reconciliation (`polar_oat_…`).',
  },
  polarApiUrl: {
    name: 'POLAR_API_URL',
    type: origin,
    default: 'https://api.polar.sh',
    description: 'The origin of the API. The sandbox is `https://sandbox-api.polar.sh`.',
  },
  polarMeterEvent: {
    name: 'POLAR_METER_EVENT',
    type: meterEvent,
    requires: 'POLAR_ACCESS_TOKEN',
    example: 'tokens',
    description: 'The name of the usage events at Polar. With it, the usage of its customers is exported to its meters.',
  },
} as const satisfies Variables;

export const DODO_VARIABLES = {
  dodoWebhookKeys: {
    name: 'DODO_PAYMENTS_WEBHOOK_KEY',
    type: webhookSecrets,
    default: '',
    secret: true,
    whenUnset: 'made once, in development',
    description:
      'The secret of the webhook endpoint (`whsec_…`), several while one replaces another. Without it there is no `/webhooks/dodo`.',
  },
  dodoApiKey: {
    name: 'DODO_PAYMENTS_API_KEY',
    type: text,
    secret: true,
    description: 'Switches on checkout, customer portal and reconciliation.',
  },
  dodoApiUrl: {
    name: 'DODO_PAYMENTS_API_URL',
    type: origin,
    default: 'https://live.dodopayments.com',
    description: 'The origin of the API. Test mode is `https://test.dodopayments.com`.',
  },
  dodoMeterEvent: {
    name: 'DODO_METER_EVENT',
    type: meterEvent,
    requires: 'DODO_PAYMENTS_API_KEY',
    example: 'tokens',
    description: 'The name of the usage events at Dodo. With it, the usage of its customers is exported to its meters.',
  },
} as const satisfies Variables;

export const PLANS_VARIABLES = {
  plansFile: {
    name: 'PLANS_FILE',
    type: z.string().transform((file) => path.resolve(file)),
    default: PLANS_FILE,
    whenUnset: '`plans.json` beside `package.json`',
    example: 'plans.json',
    description: 'The file of the plans: their limits, and the products that buy them.',
  },
  billingProducts: {
    name: 'BILLING_PRODUCTS',
    type: list,
    default: '',
    whenUnset: 'two example products, in development',
    example: 'polar:8a2b4c6d-1e3f-4a5b-9c7d-0e1f2a3b4c5d=pro,dodo:pdt_0NXkTnYHjtKIqNGVjvCzF=business',
    description: 'More products that buy a plan, as `provider:product=plan`, separated by commas.',
  },
  billingGraceDays: {
    name: 'BILLING_GRACE_DAYS',
    type: amount('days', 0, 365),
    default: '7',
    description: 'The grace period after a failed renewal, where the provider does not give its end.',
  },
  billingUnconfirmedDays: {
    name: 'BILLING_UNCONFIRMED_DAYS',
    type: amount('days', 0, 365),
    default: '7',
    description: 'How long a subscription stays open after the end of its period while the provider cannot confirm the renewal.',
  },
} as const satisfies Variables;

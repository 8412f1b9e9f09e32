import DodoPayments from 'dodopayments';
import type { Config } from '../../platform/config/config.js';
import { BillingProviderFailed } from '../../subscriptions/sync/billing-provider.port.js';
import type { Send, ProviderErrorBody } from '../billing-http.client.js';

/** The SDK, with its requests sent through `send`. */
export function createDodoSdk({ dodoApi }: Config, operation: string, send: Send): DodoPayments {
  if (dodoApi === undefined) throw new BillingProviderFailed('dodo', operation, 'DODO_PAYMENTS_API_KEY is not set');
  return new DodoPayments({
    bearerToken: dodoApi.token,
    baseURL: dodoApi.url,
    webhookKey: null,
    maxRetries: 0,
    logLevel: 'off',
    fetch: send,
  });
}

/** https://docs.dodopayments.com/api-reference/error-codes */
export function parseDodoErrorBody(answer: object): ProviderErrorBody | undefined {
  const { code, message } = answer as { code?: unknown; message?: unknown };
  if (typeof code !== 'string' || !/^[A-Z][A-Z_]+$/.test(code) || typeof message !== 'string') return undefined;
  return { code, message };
}

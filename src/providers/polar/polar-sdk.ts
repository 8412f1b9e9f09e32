import { createPolarCore } from '@polar-sh/sdk/2026-10';
import type { Config } from '../../platform/config/config.js';
import { BillingProviderFailed } from '../../subscriptions/sync/billing-provider.port.js';
import type { Send, ProviderErrorBody } from '../billing-http.client.js';

/** The SDK's core, with its requests sent through `send`. */
export function createPolarSdk({ polarApi }: Config, operation: string, send: Send) {
  if (polarApi === undefined) throw new BillingProviderFailed('polar', operation, 'POLAR_ACCESS_TOKEN is not set');
  const core = createPolarCore({ accessToken: polarApi.token, baseUrl: polarApi.url });
  core.sendRequest = async ([url, init]) => send(url, init);
  return core;
}

/** `error` is the code. `detail` is a sentence or a list of errors by field. */
export function parsePolarErrorBody(answer: object): ProviderErrorBody | undefined {
  const { error: code, error_description: description, detail = description } = answer as Partial<Record<string, unknown>>;
  if (typeof code !== 'string') return undefined;
  if (typeof detail === 'string') return { code, message: detail };
  if (!Array.isArray(detail)) return undefined;
  // Each error also repeats the input, which may be an email address: left out.
  const details = (detail as Record<'loc' | 'msg', unknown>[]).map(({ loc, msg }) => ({
    path: [loc].flat() as (string | number)[],
    message: String(msg),
  }));
  return { code, message: details.map(({ path, message }) => `${path.join()}: ${message}`).join('; '), details };
}

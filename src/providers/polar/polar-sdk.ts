import { createPolarCore } from '@polar-sh/sdk/2026-10';
import type { Config } from '../../platform/config/config.js';
import { BillingProviderFailed } from '../../subscriptions/sync/billing-provider.port.js';
import type { Send, ProviderErrorBody } from '../billing-http.client.js';

/** What the SDK's services make their requests with; they go out through `send`. */
export function createPolarSdk({ polarApi }: Config, operation: string, send: Send) {
  if (polarApi === undefined) throw new BillingProviderFailed('polar', operation, 'POLAR_ACCESS_TOKEN is not set');
  const core = createPolarCore({ accessToken: polarApi.token, baseUrl: polarApi.url });
  core.sendRequest = async ([url, init]) => send(url, init);
  return core;
}

/** `error` names the kind; what is wrong is told in a sentence, or by each field of the input. */
export function parsePolarErrorBody(answer: object): ProviderErrorBody | undefined {
  const { error: code, error_description: description, detail = description } = answer as Partial<Record<string, unknown>>;
  if (typeof code !== 'string') return undefined;
  if (typeof detail === 'string') return { code, message: detail };
  if (!Array.isArray(detail)) return undefined;
  // What was given is told as well, and may hold an address.
  const details = (detail as Record<'loc' | 'msg', unknown>[]).map(({ loc, msg }) => ({
    path: [loc].flat() as (string | number)[],
    message: String(msg),
  }));
  return { code, message: details.map(({ path, message }) => `${path.join()}: ${message}`).join('; '), details };
}

import { loadConfig } from '../../../src/platform/config/config.js';
import { BillingProviders } from '../../../src/subscriptions/sync/billing-provider.port.js';
import type { BillingHttpClient } from '../../../src/providers/billing-http.client.js';
import { DodoApi } from '../../../src/providers/dodo/dodo-api.client.js';
import { PolarApi } from '../../../src/providers/polar/polar-api.client.js';
import { testEnvironment } from '../app.js';

const configOf = (environment: Record<string, string>) => loadConfig({ ...testEnvironment('postgres://localhost/none'), ...environment });

export function polarEnvironment({ url, accessToken }: { url: string; accessToken: string }): Record<string, string> {
  return { POLAR_API_URL: url, POLAR_ACCESS_TOKEN: accessToken };
}

export function dodoEnvironment({ url, apiKey }: { url: string; apiKey: string }): Record<string, string> {
  return { DODO_PAYMENTS_API_URL: url, DODO_PAYMENTS_API_KEY: apiKey };
}

export function polarClient(environment: Record<string, string>): PolarApi {
  return new PolarApi(configOf(environment), new BillingProviders());
}

export function dodoClient(environment: Record<string, string>): DodoApi {
  return new DodoApi(configOf(environment), new BillingProviders());
}

/** Records pauses instead of waiting. */
export function withoutPauses({ calls }: { calls: BillingHttpClient }): number[] {
  const pauses: number[] = [];
  Object.assign(calls.limits, {
    pause: (ms: number) => {
      pauses.push(ms);
      return Promise.resolve();
    },
  });
  return pauses;
}

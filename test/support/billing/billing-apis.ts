import { DodoAccount } from '../../simulators/dodo-account.js';
import { startDodoApiSimulator } from '../../simulators/dodo-api.js';
import { PolarAccount } from '../../simulators/polar-account.js';
import { startPolarApiSimulator } from '../../simulators/polar-api.js';
import type { ProvidersWorld } from '../providers-world.js';

const now = { now: () => new Date() };

/** The final state of several histories in one account; no scheduled change runs any more. */
class CombinedPolarAccount extends PolarAccount {
  constructor(worlds: ProvidersWorld[]) {
    super({ clock: now });
    for (const { polar } of worlds) {
      for (const [id, product] of polar.products) this.products.set(id, product);
      for (const [id, customer] of polar.customers) this.customers.set(id, customer);
      for (const subscription of polar.listSubscriptions()) this.subscriptions.set(subscription.id, subscription);
    }
  }

  protected override *dues() {}
}

class CombinedDodoAccount extends DodoAccount {
  constructor(worlds: ProvidersWorld[]) {
    super({ clock: now });
    for (const { dodo } of worlds) {
      for (const [id, product] of dodo.products) this.products.set(id, product);
      for (const [id, subscription] of dodo.subscriptions) this.subscriptions.set(id, subscription);
    }
  }

  protected override *dues() {}
}

/** Starts the providers' APIs with the final state of these histories, and returns the environment of a process that uses them. */
export async function startBillingApis(worlds: ProvidersWorld[]) {
  const polar = await startPolarApiSimulator({ account: new CombinedPolarAccount(worlds) });
  const dodo = await startDodoApiSimulator({ account: new CombinedDodoAccount(worlds) });
  return {
    environment: {
      POLAR_ACCESS_TOKEN: polar.accessToken,
      POLAR_API_URL: polar.url,
      DODO_PAYMENTS_API_KEY: dodo.apiKey,
      DODO_PAYMENTS_API_URL: dodo.url,
    },
    close: async () => {
      await polar.close();
      await dodo.close();
    },
  };
}

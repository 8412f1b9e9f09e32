import { DodoAccount } from '../../simulators/dodo-account.js';
import { startDodoApiSimulator } from '../../simulators/dodo-api.js';
import { PolarAccount } from '../../simulators/polar-account.js';
import { startPolarApiSimulator } from '../../simulators/polar-api.js';
import type { ProvidersWorld } from '../providers-world.js';

const now = { now: () => new Date() };

/** All of several histories in one account, in which nothing happens any more. */
class PolarOfAll extends PolarAccount {
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

class DodoOfAll extends DodoAccount {
  constructor(worlds: ProvidersWorld[]) {
    super({ clock: now });
    for (const { dodo } of worlds) {
      for (const [id, product] of dodo.products) this.products.set(id, product);
      for (const [id, subscription] of dodo.subscriptions) this.subscriptions.set(id, subscription);
    }
  }

  protected override *dues() {}
}

/** The providers' APIs as they are after these histories, and how a process finds them. */
export async function startBillingApis(worlds: ProvidersWorld[]) {
  const polar = await startPolarApiSimulator({ account: new PolarOfAll(worlds) });
  const dodo = await startDodoApiSimulator({ account: new DodoOfAll(worlds) });
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

import { setTimeout as sleep } from 'node:timers/promises';
import { startClerkApiSimulator } from '../../simulators/clerk-api.js';
import { DodoAccount } from '../../simulators/dodo-account.js';
import { startDodoApiSimulator } from '../../simulators/dodo-api.js';
import { PolarAccount } from '../../simulators/polar-account.js';
import { startPolarApiSimulator } from '../../simulators/polar-api.js';
import { Seeded } from '../../simulators/seeded.js';
import type { Fault } from '../../simulators/simulated-api.js';
import { dodoEnvironment, polarEnvironment } from '../../support/billing/billing-clients.js';
import { addProducts, BILLING_PRODUCTS } from '../../support/billing/billing-products.js';
import { CLERK_INSTANCE_ID, CLERK_WEBHOOK_SECRET as SECRET } from '../../support/clerk/clerk-events.js';

type Apis = Awaited<ReturnType<typeof startApis>>;

/** The webhooks of all providers are signed with one secret. */
const WEBHOOKS = { CLERK_WEBHOOK_SIGNING_SECRET: SECRET, POLAR_WEBHOOK_SECRET: SECRET, DODO_PAYMENTS_WEBHOOK_KEY: SECRET };

const FAILURES: (Fault | 'late')[] = ['late', 'hang', 'cut', 'lost', { status: 500 }, { status: 503 }, { status: 429, retryAfter: 1 }];

/** Clerk, Polar and Dodo: their state, and their APIs, which can fail. */
export class Providers {
  private constructor(
    readonly polar: PolarAccount,
    readonly dodo: DodoAccount,
    private readonly apis: Apis,
  ) {}

  static async start(): Promise<Providers> {
    const clock = { now: () => new Date() };
    const polar = new PolarAccount({ clock, seed: 'faults' });
    const dodo = new DodoAccount({ clock, seed: 'faults' });
    addProducts({ polar, dodo });
    return new Providers(polar, dodo, await startApis(polar, dodo));
  }

  get clerk(): Pick<Apis['clerk'], 'users' | 'sessions'> {
    return this.apis.clerk;
  }

  get environment(): Record<string, string> {
    const { clerk, polar, dodo } = this.apis;
    return {
      ...WEBHOOKS,
      CLERK_INSTANCE_ID,
      CLERK_SECRET_KEY: clerk.secretKey,
      CLERK_API_URL: clerk.url,
      ...polarEnvironment(polar),
      ...dodoEnvironment(dodo),
      BILLING_PRODUCTS,
    };
  }

  /** Until `recover`, each call is late, refused, without a response, or done without a response. */
  fail(seed: string): void {
    const chance = new Seeded(`providers ${seed}`);
    for (const { control, faults } of Object.values(this.apis)) {
      control.onCall = async () => {
        const failure = chance.pick(FAILURES);
        if (failure === 'late') await sleep(chance.between(500, 5000));
        else faults.push(failure);
      };
    }
  }

  recover(): void {
    for (const { control, faults } of Object.values(this.apis)) {
      control.onCall = undefined;
      faults.length = 0;
    }
  }

  /** How many subscriptions of an organization will be charged again. */
  chargedSubscriptions(organizationId: string): number {
    const polar = this.polar
      .listSubscriptions()
      .filter(
        ({ metadata, status, cancel_at_period_end: ends }) => metadata['organizationId'] === organizationId && status === 'active' && !ends,
      );
    const dodo = [...this.dodo.subscriptions.values()].filter(
      ({ metadata, status, cancel_at_next_billing_date: ends }) =>
        metadata['organizationId'] === organizationId && status === 'active' && !ends,
    );
    return polar.length + dodo.length;
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.apis).map((api) => api.close()));
  }
}

async function startApis(polar: PolarAccount, dodo: DodoAccount) {
  return {
    clerk: await startClerkApiSimulator({ instanceId: CLERK_INSTANCE_ID }),
    polar: await startPolarApiSimulator({ account: polar }),
    dodo: await startDodoApiSimulator({ account: dodo }),
  };
}

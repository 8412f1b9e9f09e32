import { ClerkInstance } from '../simulators/clerk-instance.js';
import { DodoAccount } from '../simulators/dodo-account.js';
import type { DodoOptions } from '../simulators/dodo-billing.js';
import { PolarAccount } from '../simulators/polar-account.js';
import type { PolarOptions } from '../simulators/polar-billing.js';
import { bodyAt, type ProviderEvent } from '../simulators/provider-event.js';
import { VirtualClock } from '../simulators/virtual-time.js';
import { addProducts } from './billing/billing-products.js';
import { localId } from './clerk/clerk-histories.js';

const HOUR = 3_600_000;

/**
 * The start, weeks ago. Time passes in whole hours and at most a few minutes, so every date is half an hour away from now: the effective
 * state does not change during a run.
 */
const START = Date.now() - 40 * 24 * HOUR - HOUR / 2;

export type Sender = 'clerk' | 'polar' | 'dodo';

export interface BillingEvent extends ProviderEvent {
  provider: Sender;
}

/** One message as it is delivered. */
export interface Delivery {
  provider: Sender;
  messageId: string;
  type: string;
  body: string;
}

/** The possible owners. Local owners exist from the start, Clerk's when Clerk reports them. */
export const OWNERS = ['clerk organization', 'clerk user', 'local organization', 'local user'] as const;
export type OwnerName = (typeof OWNERS)[number];

export const isOrganization = (owner: OwnerName) => owner.endsWith('organization');

export interface WorldOptions extends Pick<PolarOptions, 'exhausted'>, Pick<DodoOptions, 'rendering' | 'unpaid'> {
  /** Worlds with the same seed differ only in their ids. */
  seed: number | string;
  start?: number;
}

/** Two billing providers and Clerk with a common clock, and all their events. */
export class ProvidersWorld {
  readonly clock: VirtualClock;
  readonly polar: PolarAccount;
  readonly dodo: DodoAccount;
  readonly clerk: ClerkInstance;
  /** The events of all providers in the order of their creation. */
  readonly events: BillingEvent[] = [];
  private readonly collected = { clerk: 0, polar: 0, dodo: 0 };

  /** @param mark eight hexadecimal digits in all ids */
  constructor(
    readonly mark: string,
    { seed, start = START, rendering = 'stored', unpaid, exhausted }: WorldOptions,
  ) {
    this.clock = new VirtualClock(start);
    this.polar = new PolarAccount({ clock: this.clock, seed: `polar ${seed}`, mark, exhausted });
    this.dodo = new DodoAccount({ clock: this.clock, seed: `dodo ${seed}`, mark, rendering, unpaid });
    this.clerk = new ClerkInstance(mark, start);
    addProducts(this);
  }

  /** Runs a change, and collects the events about it. */
  apply<T>(act: () => T): T {
    this.clerk.now = this.clock.now().getTime();
    const outcome = act();
    for (const account of [this.polar, this.dodo]) account.tick();
    const at = this.clock.now();
    this.collect(
      'clerk',
      this.clerk.events.map((event) => ({ ...event, at })),
    );
    this.collect('polar', this.polar.events);
    this.collect('dodo', this.dodo.events);
    return outcome;
  }

  /** Lets hours pass, and runs every change that is due. */
  advanceHours(hours: number): void {
    this.clock.advance({ hours });
    this.apply(() => undefined);
  }

  /** The id of an owner: ours, or Clerk's. */
  idOf(owner: OwnerName): string {
    if (owner === 'clerk organization') return `org_${this.mark}_00`;
    if (owner === 'clerk user') return `user_${this.mark}_00`;
    return localId(this.mark, owner);
  }

  /** The metadata that names an owner. */
  metadataOf(owner: OwnerName): Record<string, string> {
    return isOrganization(owner) ? { organizationId: this.idOf(owner) } : { userId: this.idOf(owner) };
  }

  private collect(provider: Sender, all: ProviderEvent[]): void {
    const fresh = all.slice(this.collected[provider]).map((event) => ({ ...event, provider }));
    this.collected[provider] = all.length;
    this.events.push(...fresh);
  }
}

/** The deliveries in this order, each as early as possible. Late rendering shows the state at delivery. */
export function rendered(events: BillingEvent[]): Delivery[] {
  let now = 0;
  return events.map((event) => {
    now = Math.max(now, event.at.getTime());
    const { provider, messageId, type } = event;
    return { provider, messageId, type, body: bodyAt(event, new Date(now)) };
  });
}

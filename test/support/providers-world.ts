import { ClerkInstance } from '../simulators/clerk-instance.js';
import { DodoAccount } from '../simulators/dodo-account.js';
import type { DodoOptions } from '../simulators/dodo-billing.js';
import { PolarAccount } from '../simulators/polar-account.js';
import type { PolarOptions } from '../simulators/polar-billing.js';
import { bodyAt, type ProviderEvent } from '../simulators/provider-event.js';
import { VirtualClock } from '../simulators/virtual-time.js';
import { stock } from './billing/billing-catalogue.js';
import { localId } from './clerk/clerk-histories.js';

const HOUR = 3_600_000;

/**
 * When it all happens: weeks ago, in time that passes in whole hours and a few minutes at most. Seen from now, every
 * date falls half an hour away from a change of the effective state, which the run is too short to meet.
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

/** Who may own what was bought; ours are there before anything happens, Clerk's when Clerk tells of them. */
export const OWNERS = ['clerk organization', 'clerk user', 'local organization', 'local user'] as const;
export type OwnerName = (typeof OWNERS)[number];

export const isOrganization = (owner: OwnerName) => owner.endsWith('organization');

export interface WorldOptions extends Pick<PolarOptions, 'exhausted'>, Pick<DodoOptions, 'rendering' | 'unpaid'> {
  /** Two worlds with the same are the same but for their ids. */
  seed: number | string;
  start?: number;
}

/** Two billing providers and Clerk, in one time, and all that they tell. */
export class ProvidersWorld {
  readonly clock: VirtualClock;
  readonly polar: PolarAccount;
  readonly dodo: DodoAccount;
  readonly clerk: ClerkInstance;
  /** Of all of them, in the order in which they came to be. */
  readonly events: BillingEvent[] = [];
  private readonly told = { clerk: 0, polar: 0, dodo: 0 };

  /** @param mark eight hexadecimal digits, which stand in all ids */
  constructor(
    readonly mark: string,
    { seed, start = START, rendering = 'stored', unpaid, exhausted }: WorldOptions,
  ) {
    this.clock = new VirtualClock(start);
    this.polar = new PolarAccount({ clock: this.clock, seed: `polar ${seed}`, mark, exhausted });
    this.dodo = new DodoAccount({ clock: this.clock, seed: `dodo ${seed}`, mark, rendering, unpaid });
    this.clerk = new ClerkInstance(mark, start);
    stock(this);
  }

  /** Lets something happen, and notes what is told of it. */
  happen<T>(act: () => T): T {
    this.clerk.now = this.clock.now().getTime();
    const outcome = act();
    for (const account of [this.polar, this.dodo]) account.tick();
    const at = this.clock.now();
    this.note(
      'clerk',
      this.clerk.events.map((event) => ({ ...event, at })),
    );
    this.note('polar', this.polar.events);
    this.note('dodo', this.dodo.events);
    return outcome;
  }

  /** Hours pass, one after the other where something is due. */
  pass(hours: number): void {
    this.clock.advance({ hours });
    this.happen(() => undefined);
  }

  /** Our id of an owner, or Clerk's. */
  idOf(owner: OwnerName): string {
    if (owner === 'clerk organization') return `org_${this.mark}_00`;
    if (owner === 'clerk user') return `user_${this.mark}_00`;
    return localId(this.mark, owner);
  }

  /** As it stands in what was bought. */
  metadataOf(owner: OwnerName): Record<string, string> {
    return isOrganization(owner) ? { organizationId: this.idOf(owner) } : { userId: this.idOf(owner) };
  }

  private note(provider: Sender, all: ProviderEvent[]): void {
    const fresh = all.slice(this.told[provider]).map((event) => ({ ...event, provider }));
    this.told[provider] = all.length;
    this.events.push(...fresh);
  }
}

/** Delivered in this order, each as soon as it can be: what is rendered late shows what is so by then. */
export function rendered(events: BillingEvent[]): Delivery[] {
  let now = 0;
  return events.map((event) => {
    now = Math.max(now, event.at.getTime());
    const { provider, messageId, type } = event;
    return { provider, messageId, type, body: bodyAt(event, new Date(now)) };
  });
}

import type { ProviderEvent } from './provider-event.js';
import { Seeded } from './seeded.js';
import { type Clock, dateOf, type Micros, microsOf } from './virtual-time.js';

/** Whether the next charges of a customer succeed. */
export type Card = 'works' | 'fails';

/** A change that happens at a time, without a request. */
export interface Due {
  at: Micros;
  run: () => void;
}

export interface AccountOptions {
  clock: Clock;
  /** Determines the ids and all other random values. */
  seed?: number | string;
  /** Eight hexadecimal digits in all ids, to distinguish accounts with the same seed. */
  mark?: string;
}

/** The common part of the simulated billing accounts: clock, random values, scheduled changes and events. */
export abstract class ProviderAccount {
  /** All events in the order of their creation. */
  readonly events: ProviderEvent[] = [];
  protected readonly chance: Seeded;
  protected readonly cards = new Map<string, Card>();
  private readonly clock: Clock;
  private readonly knownDues = new WeakMap<object, Due[]>();
  private lastStamp: Micros = 0;
  /** The time of the scheduled change that is running. */
  private dueAt: Micros | undefined;

  constructor({ clock, seed = 1, mark }: AccountOptions) {
    this.clock = clock;
    this.chance = new Seeded(seed, mark);
  }

  now(): Date {
    return this.clock.now();
  }

  /** Sets whether the customer's next charges succeed. */
  setCard(customerId: string, card: Card): void {
    this.cards.set(customerId, card);
  }

  /** Runs all due changes, each at its own time: renewals, ends of trials and periods, dunning. */
  tick(): void {
    if (this.dueAt !== undefined) return;
    const isDue = ({ at }: Due) => dateOf(at) <= this.clock.now();
    for (let next = earliest(this.dues()); next !== undefined && isDue(next); next = earliest(this.dues())) {
      this.dueAt = next.at;
      next.run();
    }
    this.dueAt = undefined;
  }

  /** All scheduled changes. A change must remove itself when it runs. */
  protected abstract dues(): Iterable<Due>;

  /** Computed once per state: states are replaced and never changed. */
  protected duesOf<T extends object>(state: T, find: (state: T) => Due[]): Due[] {
    const known = this.knownDues.get(state) ?? find(state);
    this.knownDues.set(state, known);
    return known;
  }

  /** A unique time for every change and event; two differ by at least a microsecond. */
  protected stamp(): Micros {
    const now = this.dueAt ?? microsOf(this.clock.now());
    // Some times have no fraction.
    const soonest = now + (this.chance.chance(0.25) ? 0 : this.chance.between(1, 400));
    this.lastStamp = Math.max(soonest, this.lastStamp + this.chance.between(1, 40));
    return this.lastStamp;
  }

  protected cardOf(customerId: string): Card {
    return this.cards.get(customerId) ?? 'works';
  }
}

function earliest(dues: Iterable<Due>): Due | undefined {
  let first: Due | undefined;
  for (const due of dues) if (first === undefined || due.at < first.at) first = due;
  return first;
}

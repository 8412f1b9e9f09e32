import type { ProviderEvent } from './provider-event.js';
import { Seeded } from './seeded.js';
import { type Clock, dateOf, type Micros, microsOf } from './virtual-time.js';

/** Whether the next charges of a customer succeed. */
export type Card = 'works' | 'fails';

/** Something that happens by itself when its time has come. */
export interface Due {
  at: Micros;
  happens: () => void;
}

export interface AccountOptions {
  clock: Clock;
  /** Decides ids and what else is left to chance. */
  seed?: number | string;
  /** Eight hexadecimal digits that tell its ids from those of another account of the same seed. */
  mark?: string;
}

/** What a billing provider's account is, whoever the provider: its time, its chance, and the events that it sends. */
export abstract class ProviderAccount {
  /** All of them, in the order in which they came to be. */
  readonly events: ProviderEvent[] = [];
  protected readonly chance: Seeded;
  protected readonly cards = new Map<string, Card>();
  private readonly clock: Clock;
  private readonly knownDues = new WeakMap<object, Due[]>();
  private lastStamp: Micros = 0;
  /** Set while something happens that was due. */
  private dueAt: Micros | undefined;

  constructor({ clock, seed = 1, mark }: AccountOptions) {
    this.clock = clock;
    this.chance = new Seeded(seed, mark);
  }

  now(): Date {
    return this.clock.now();
  }

  /** Decides how the customer's next charges go. */
  setCard(customerId: string, card: Card): void {
    this.cards.set(customerId, card);
  }

  /** Lets all happen that is due by now, each at its own time: renewals, ends of trials and of periods, dunning. */
  tick(): void {
    if (this.dueAt !== undefined) return;
    const isDue = ({ at }: Due) => dateOf(at) <= this.clock.now();
    for (let next = earliest(this.dues()); next !== undefined && isDue(next); next = earliest(this.dues())) {
      this.dueAt = next.at;
      next.happens();
    }
    this.dueAt = undefined;
  }

  /** All that is going to happen, whenever. What happens must not be due any more afterwards. */
  protected abstract dues(): Iterable<Due>;

  /** Worked out once for each state of a thing: states are replaced, never changed. */
  protected duesOf<T extends object>(state: T, find: (state: T) => Due[]): Due[] {
    const known = this.knownDues.get(state) ?? find(state);
    this.knownDues.set(state, known);
    return known;
  }

  /** A time of its own for every change and every event: they differ in microseconds at least. */
  protected stamp(): Micros {
    const now = this.dueAt ?? microsOf(this.clock.now());
    // Now and then there is no fraction at all.
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

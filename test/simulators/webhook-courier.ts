import { legacyKey, signedHeaders, standardKey } from '../support/webhook-signing.js';
import { bodyAt, type ProviderEvent } from './provider-event.js';
import { Seeded } from './seeded.js';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** How often something goes wrong on the way, from 0 to 1, for each message or attempt. */
export interface CourierFaults {
  /** The message is never sent. */
  lost: number;
  /** What was taken is sent again, some time later. */
  duplicated: number;
  /** The first attempt comes late, by minutes or hours. */
  delayed: number;
  /** The first attempt comes after those of its neighbours. */
  reordered: number;
  /** The receiver took the message; its answer did not arrive. */
  answerLost: number;
  /** The attempt does not arrive. */
  unreachable: number;
}

/** What a provider does with its messages, in the account's own time. */
interface Rules {
  attempts: number;
  timeoutMs: number;
  /** After so many attempts that failed. */
  waitMs: (attempts: number, chance: Seeded) => number;
  longestDelayMs: number;
  /** Between an event and its first attempt. */
  firstMs: (chance: Seeded) => number;
  /** For so long an earlier event that was never tried holds back the later ones. */
  holdsBackMs?: number;
  /** So many events in a row that failed for good end all deliveries. */
  failuresAllowed?: number;
}

/** polarsource/polar, server/polar/webhook/tasks.py and service.py; dramatiq's jitter halves a wait at most. */
const POLAR: Rules = {
  attempts: 10,
  timeoutMs: 10 * SECOND,
  waitMs: (attempts, chance) => {
    const half = Math.min(2 * SECOND * 2 ** attempts, 20 * MINUTE) / 2;
    return Math.floor(half + chance.fraction() * half);
  },
  longestDelayMs: 10 * MINUTE,
  firstMs: () => 0,
  holdsBackMs: MINUTE,
  failuresAllowed: 10,
};

const SVIX_WAITS = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR];

/** In no order; the schedule is Svix's. */
const DODO: Rules = {
  attempts: 8,
  timeoutMs: 15 * SECOND,
  waitMs: (attempts) => SVIX_WAITS[attempts - 1]!,
  longestDelayMs: 6 * HOUR,
  firstMs: (chance) => chance.between(0, 2 * SECOND),
};

export interface CourierOptions {
  url: string;
  secret: string;
  seed?: number | string;
  faults?: Partial<CourierFaults>;
  /** Instead of the provider's own patience, which is real time. */
  timeoutMs?: number;
}

interface Parcel {
  event: ProviderEvent;
  /** Its place among all events. */
  index: number;
  /** The fate of a message hangs on no other message. */
  chance: Seeded;
  dueAt: number;
  attempts: number;
  state: 'waits' | 'taken' | 'failed' | 'lost' | 'skipped';
  isDuplicate: boolean;
}

export interface Delivery {
  messageId: string;
  type: string;
  at: Date;
  /** What came of it: a status, or none. */
  answer: number | 'unreachable' | 'no answer' | 'answer lost';
}

/**
 * Brings an account's events to a URL, signed, by the provider's rules. Its time is the account's: nothing is
 * waited for, retries of a day pass at once. Only the attempts' timestamps are real, as receivers check them.
 */
export class WebhookCourier {
  /** Every attempt that was made. */
  readonly deliveries: Delivery[] = [];
  /** Whether the provider gave the endpoint up. */
  disabled = false;
  private readonly parcels: Parcel[] = [];
  private waiting: Parcel[] = [];
  private collected = 0;
  private readonly faults: CourierFaults;

  constructor(
    private readonly account: { events: readonly ProviderEvent[] },
    private readonly rules: Rules,
    private readonly key: Buffer,
    private readonly options: CourierOptions,
  ) {
    const none = { lost: 0, duplicated: 0, delayed: 0, reordered: 0, answerLost: 0, unreachable: 0 };
    this.faults = { ...none, ...options.faults };
  }

  /** Makes all attempts that are due until then; without a time, until nothing is left to be tried. */
  async run(until = new Date(8.64e15)): Promise<void> {
    for (let next = this.next(until); next !== undefined; next = this.next(until)) await this.attempt(next);
  }

  /** Sends a message again, as somebody does by hand; a failure or a success does not matter any more. */
  redeliver(messageId: string, at: Date): void {
    this.collect();
    const parcel = this.parcels.find(({ event }) => event.messageId === messageId)!;
    this.again(parcel, at.getTime());
  }

  /** What was skipped meanwhile stays unsent. */
  enable(): void {
    this.disabled = false;
  }

  /** Which messages never got through. */
  undelivered(): string[] {
    const taken = new Set(this.parcels.filter(({ state }) => state === 'taken').map(({ event }) => event.messageId));
    return this.account.events.map(({ messageId }) => messageId).filter((id) => !taken.has(id));
  }

  private next(until: Date): Parcel | undefined {
    this.collect();
    let first: Parcel | undefined;
    for (const parcel of this.waiting) {
      if (first === undefined || parcel.dueAt < first.dueAt || (parcel.dueAt === first.dueAt && parcel.index < first.index)) first = parcel;
    }
    return first !== undefined && first.dueAt <= until.getTime() ? first : undefined;
  }

  private collect(): void {
    for (; this.collected < this.account.events.length; this.collected += 1) {
      const event = this.account.events[this.collected]!;
      const chance = new Seeded(`${this.options.seed ?? 1} ${event.messageId}`);
      const dueAt = event.at.getTime() + this.rules.firstMs(chance) + this.lateness(chance);
      const state = this.disabled ? 'skipped' : chance.chance(this.faults.lost) ? 'lost' : 'waits';
      this.add({ event, index: this.collected, chance, dueAt, attempts: 0, state, isDuplicate: false });
    }
  }

  private lateness(chance: Seeded): number {
    if (chance.chance(this.faults.delayed)) return chance.between(MINUTE, this.rules.longestDelayMs);
    return chance.chance(this.faults.reordered) ? chance.between(SECOND, MINUTE) : 0;
  }

  private add(parcel: Parcel): void {
    this.parcels.push(parcel);
    if (parcel.state === 'waits') this.waiting.push(parcel);
  }

  private again({ event, index, chance }: Parcel, dueAt: number): void {
    this.add({ event, index, chance, dueAt, attempts: 0, state: 'waits', isDuplicate: true });
  }

  private async attempt(parcel: Parcel): Promise<void> {
    const earlier = this.untriedBefore(parcel);
    if (earlier > 0) {
      parcel.dueAt += Math.min(earlier * 300, MINUTE);
      return;
    }
    const { event, dueAt, chance } = parcel;
    parcel.attempts += 1;
    const answer = await this.send(parcel);
    this.deliveries.push({ messageId: event.messageId, type: event.type, at: new Date(dueAt), answer });
    if (typeof answer === 'number' && answer >= 200 && answer < 300) this.finish(parcel, 'taken');
    else if (parcel.attempts >= this.rules.attempts) this.finish(parcel, 'failed');
    else parcel.dueAt += this.rules.waitMs(parcel.attempts, chance);
    if (parcel.state === 'taken' && chance.chance(this.faults.duplicated)) this.again(parcel, dueAt + chance.between(SECOND, HOUR));
    if (parcel.state === 'failed') this.giveUpIfHopeless();
  }

  /** How many events that are older, but not too old, nobody tried to deliver yet. */
  private untriedBefore({ index, dueAt, isDuplicate }: Parcel): number {
    const { holdsBackMs } = this.rules;
    if (holdsBackMs === undefined || isDuplicate) return 0;
    const isHolding = (one: Parcel) => !one.isDuplicate && one.attempts === 0 && one.event.at.getTime() >= dueAt - holdsBackMs;
    return this.parcels.filter((one) => one.index < index && isHolding(one)).length;
  }

  private async send({ event, dueAt, chance }: Parcel): Promise<Delivery['answer']> {
    if (chance.chance(this.faults.unreachable)) return 'unreachable';
    const body = bodyAt(event, new Date(dueAt));
    const headers = { 'content-type': 'application/json', ...signedHeaders(body, { id: event.messageId, key: this.key }) };
    const signal = AbortSignal.timeout(this.options.timeoutMs ?? this.rules.timeoutMs);
    try {
      const response = await fetch(this.options.url, { method: 'POST', headers, body, redirect: 'manual', signal });
      await response.arrayBuffer();
      return chance.chance(this.faults.answerLost) ? 'answer lost' : response.status;
    } catch {
      // Nobody listens, or not in time: for the provider it is a failed attempt like any other.
      return 'no answer';
    }
  }

  private finish(parcel: Parcel, state: 'taken' | 'failed'): void {
    parcel.state = state;
    this.waiting = this.waiting.filter((one) => one !== parcel);
  }

  private giveUpIfHopeless(): void {
    const { failuresAllowed } = this.rules;
    if (failuresAllowed === undefined) return;
    const done = this.parcels.filter(({ state, isDuplicate }) => !isDuplicate && (state === 'taken' || state === 'failed'));
    const latest = done.toSorted((a, b) => b.index - a.index).slice(0, failuresAllowed);
    if (latest.length < failuresAllowed || latest.some(({ state }) => state === 'taken')) return;
    this.disabled = true;
    for (const parcel of this.waiting) parcel.state = 'skipped';
    this.waiting = [];
  }
}

/** `signature` is the endpoint's: old ones are signed with the letters of the secret, new ones by the standard. */
export function polarCourier(
  account: { events: readonly ProviderEvent[] },
  { signature = 'legacy', ...options }: CourierOptions & { signature?: 'legacy' | 'standard' },
): WebhookCourier {
  return new WebhookCourier(account, POLAR, signature === 'legacy' ? legacyKey(options.secret) : standardKey(options.secret), options);
}

export function dodoCourier(account: { events: readonly ProviderEvent[] }, options: CourierOptions): WebhookCourier {
  return new WebhookCourier(account, DODO, standardKey(options.secret), options);
}

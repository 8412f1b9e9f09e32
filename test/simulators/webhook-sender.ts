import { legacyKey, signedHeaders, standardKey } from '../support/webhook-signing.js';
import { bodyAt, type ProviderEvent } from './provider-event.js';
import { Seeded } from './seeded.js';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** The probability of each failure, from 0 to 1, for each message or attempt. */
export interface SenderFaults {
  /** The message is never sent. */
  lost: number;
  /** An accepted message is sent again later. */
  duplicated: number;
  /** The first attempt is late by minutes or hours. */
  delayed: number;
  /** The first attempt follows those of later messages. */
  reordered: number;
  /** The receiver accepts the message, but the response is lost. */
  responseLost: number;
  /** The attempt does not arrive. */
  unreachable: number;
}

/** A provider's delivery rules, in the account's time. */
interface Rules {
  attempts: number;
  timeoutMs: number;
  /** The wait after a number of failed attempts. */
  waitMs: (attempts: number, chance: Seeded) => number;
  longestDelayMs: number;
  /** Between an event and its first attempt. */
  firstMs: (chance: Seeded) => number;
  /** The time for which an earlier event without an attempt delays later ones. */
  holdBackMs?: number;
  /** Consecutive failed events after which the endpoint is disabled. */
  failuresAllowed?: number;
}

/** polarsource/polar, server/polar/webhook/tasks.py and service.py; dramatiq's jitter at most halves a wait. */
const POLAR: Rules = {
  attempts: 10,
  timeoutMs: 10 * SECOND,
  waitMs: (attempts, chance) => {
    const half = Math.min(2 * SECOND * 2 ** attempts, 20 * MINUTE) / 2;
    return Math.floor(half + chance.fraction() * half);
  },
  longestDelayMs: 10 * MINUTE,
  firstMs: () => 0,
  holdBackMs: MINUTE,
  failuresAllowed: 10,
};

const SVIX_WAITS = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR];

/** Unordered, with Svix's schedule. */
const DODO: Rules = {
  attempts: 8,
  timeoutMs: 15 * SECOND,
  waitMs: (attempts) => SVIX_WAITS[attempts - 1]!,
  longestDelayMs: 6 * HOUR,
  firstMs: (chance) => chance.between(0, 2 * SECOND),
};

export interface SenderOptions {
  url: string;
  secret: string;
  seed?: number | string;
  faults?: Partial<SenderFaults>;
  /** Overrides the provider's time-out, which is real time. */
  timeoutMs?: number;
}

interface Message {
  event: ProviderEvent;
  /** The index among all events. */
  index: number;
  /** Random values of this message only. */
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
  /** The status of the response, or the failure. */
  answer: number | 'unreachable' | 'no answer' | 'answer lost';
}

/**
 * Delivers an account's signed events to a URL by the provider's rules. Time is the account's, so retries of a day take no real time. Only
 * the timestamps of attempts are real, because receivers check them.
 */
export class WebhookSender {
  /** Every attempt. */
  readonly deliveries: Delivery[] = [];
  /** Whether the provider has disabled the endpoint. */
  disabled = false;
  private readonly messages: Message[] = [];
  private waiting: Message[] = [];
  private collected = 0;
  private readonly faults: SenderFaults;

  constructor(
    private readonly account: { events: readonly ProviderEvent[] },
    private readonly rules: Rules,
    private readonly key: Buffer,
    private readonly options: SenderOptions,
  ) {
    const none = { lost: 0, duplicated: 0, delayed: 0, reordered: 0, responseLost: 0, unreachable: 0 };
    this.faults = { ...none, ...options.faults };
  }

  /** Makes all attempts that are due until then; by default all that remain. */
  async run(until = new Date(8.64e15)): Promise<void> {
    for (let next = this.next(until); next !== undefined; next = this.next(until)) await this.attempt(next);
  }

  /** Sends a message again on request, whatever its state. */
  redeliver(messageId: string, at: Date): void {
    this.collect();
    const message = this.messages.find(({ event }) => event.messageId === messageId)!;
    this.again(message, at.getTime());
  }

  /** Messages that were skipped while disabled are not sent. */
  enable(): void {
    this.disabled = false;
  }

  /** The messages that were never accepted. */
  undelivered(): string[] {
    const taken = new Set(this.messages.filter(({ state }) => state === 'taken').map(({ event }) => event.messageId));
    return this.account.events.map(({ messageId }) => messageId).filter((id) => !taken.has(id));
  }

  private next(until: Date): Message | undefined {
    this.collect();
    let first: Message | undefined;
    for (const message of this.waiting) {
      if (first === undefined || message.dueAt < first.dueAt || (message.dueAt === first.dueAt && message.index < first.index))
        first = message;
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

  private add(message: Message): void {
    this.messages.push(message);
    if (message.state === 'waits') this.waiting.push(message);
  }

  private again({ event, index, chance }: Message, dueAt: number): void {
    this.add({ event, index, chance, dueAt, attempts: 0, state: 'waits', isDuplicate: true });
  }

  private async attempt(message: Message): Promise<void> {
    const earlier = this.untriedBefore(message);
    if (earlier > 0) {
      message.dueAt += Math.min(earlier * 300, MINUTE);
      return;
    }
    const { event, dueAt, chance } = message;
    message.attempts += 1;
    const answer = await this.send(message);
    this.deliveries.push({ messageId: event.messageId, type: event.type, at: new Date(dueAt), answer });
    if (typeof answer === 'number' && answer >= 200 && answer < 300) this.finish(message, 'taken');
    else if (message.attempts >= this.rules.attempts) this.finish(message, 'failed');
    else message.dueAt += this.rules.waitMs(message.attempts, chance);
    if (message.state === 'taken' && chance.chance(this.faults.duplicated)) this.again(message, dueAt + chance.between(SECOND, HOUR));
    if (message.state === 'failed') this.disableAfterFailures();
  }

  /** The number of earlier recent events without an attempt. */
  private untriedBefore({ index, dueAt, isDuplicate }: Message): number {
    const { holdBackMs } = this.rules;
    if (holdBackMs === undefined || isDuplicate) return 0;
    const isHolding = (one: Message) => !one.isDuplicate && one.attempts === 0 && one.event.at.getTime() >= dueAt - holdBackMs;
    return this.messages.filter((one) => one.index < index && isHolding(one)).length;
  }

  private async send({ event, dueAt, chance }: Message): Promise<Delivery['answer']> {
    if (chance.chance(this.faults.unreachable)) return 'unreachable';
    const body = bodyAt(event, new Date(dueAt));
    const headers = { 'content-type': 'application/json', ...signedHeaders(body, { id: event.messageId, key: this.key }) };
    const signal = AbortSignal.timeout(this.options.timeoutMs ?? this.rules.timeoutMs);
    try {
      const response = await fetch(this.options.url, { method: 'POST', headers, body, redirect: 'manual', signal });
      await response.arrayBuffer();
      return chance.chance(this.faults.responseLost) ? 'answer lost' : response.status;
    } catch {
      // Refused or timed out: a failed attempt for the provider.
      return 'no answer';
    }
  }

  private finish(message: Message, state: 'taken' | 'failed'): void {
    message.state = state;
    this.waiting = this.waiting.filter((one) => one !== message);
  }

  private disableAfterFailures(): void {
    const { failuresAllowed } = this.rules;
    if (failuresAllowed === undefined) return;
    const done = this.messages.filter(({ state, isDuplicate }) => !isDuplicate && (state === 'taken' || state === 'failed'));
    const latest = done.toSorted((a, b) => b.index - a.index).slice(0, failuresAllowed);
    if (latest.length < failuresAllowed || latest.some(({ state }) => state === 'taken')) return;
    this.disabled = true;
    for (const message of this.waiting) message.state = 'skipped';
    this.waiting = [];
  }
}

/** `signature` is the endpoint's: older endpoints sign with the secret as text, newer ones follow the standard. */
export function polarSender(
  account: { events: readonly ProviderEvent[] },
  { signature = 'legacy', ...options }: SenderOptions & { signature?: 'legacy' | 'standard' },
): WebhookSender {
  return new WebhookSender(account, POLAR, signature === 'legacy' ? legacyKey(options.secret) : standardKey(options.secret), options);
}

export function dodoSender(account: { events: readonly ProviderEvent[] }, options: SenderOptions): WebhookSender {
  return new WebhookSender(account, DODO, standardKey(options.secret), options);
}

import type { BucketState } from '../rate-limits/buckets.js';
import { CallerLease } from './caller-lease.js';
import type { LeaseGrant, LeaseRequest, LeaseTerms } from './lease-terms.js';

interface Waiter {
  resolve(state: BucketState): void;
  reject(error: unknown): void;
}

interface Question {
  lease: CallerLease;
  waiters: Waiter[];
  /** Whether the caller is gone: only gives its calls back. */
  isLast: boolean;
}

interface Surroundings {
  grant(terms: LeaseTerms, requests: LeaseRequest[]): Promise<LeaseGrant[]>;
  now(): number;
  /** Runs after the statements of this turn are collected, or later without keeping the process alive. */
  after(milliseconds: number, work: () => void): void;
}

const TICK_MS = 250;
const MOST_CALLERS = 20_000;
const MOST_TOGETHER = 1000;

/** Counts the calls of one limit. One statement at a time serves all callers: those that come meanwhile share the next. */
export class LeasedLimit {
  private readonly callers = new Map<string, CallerLease>();
  private readonly questions = new Map<string, Question>();
  private sending?: Promise<void>;
  private isCollecting = false;
  private isTicking = false;
  private isClosed = false;

  constructor(
    private readonly terms: LeaseTerms,
    private readonly around: Surroundings,
  ) {}

  get size(): number {
    return this.callers.size + this.questions.size;
  }

  spend(key: string): BucketState | Promise<BucketState> {
    const now = this.around.now();
    const lease = this.callers.get(key) ?? this.remember(key, this.questions.get(key)?.lease ?? new CallerLease(this.terms));
    const left = lease.take(now);
    if (left !== undefined) {
      if (lease.runsLow(now)) this.ask(key, lease);
      return { allowed: true, secondsUntilFull: lease.secondsUntilFull(now), left };
    }
    return this.refusalOf(key) ?? this.wait(key, lease);
  }

  refusalOf(key: string): BucketState | undefined {
    const now = this.around.now();
    const lease = this.callers.get(key);
    return lease?.isRefused(now) === true ? { allowed: false, secondsUntilFull: lease.secondsUntilFull(now) } : undefined;
  }

  /** Gives all leases back. Later calls are counted one by one. */
  async close(): Promise<void> {
    this.isClosed = true;
    for (const [key, lease] of this.callers) this.forget(key, lease);
    while (this.questions.size > 0) await (this.sending ?? this.send());
  }

  private wait(key: string, lease: CallerLease): Promise<BucketState> {
    return new Promise((resolve, reject) => {
      this.ask(key, lease).waiters.push({ resolve, reject });
      this.collect();
    });
  }

  private ask(key: string, lease: CallerLease, isLast = false): Question {
    let question = this.questions.get(key);
    if (question === undefined) {
      question = { lease, waiters: [], isLast };
      this.questions.set(key, question);
    }
    question.isLast &&= isLast;
    lease.isAsking = true;
    this.startTicking();
    return question;
  }

  /** Waits for the other calls of this turn, and for the statement that is under way. */
  private collect(): void {
    if (this.isCollecting) return;
    this.isCollecting = true;
    this.around.after(0, () => void this.sendCollected());
  }

  private async sendCollected(): Promise<void> {
    await this.sending;
    this.isCollecting = false;
    if (this.questions.size > 0) await this.send();
  }

  private send(): Promise<void> {
    this.sending = this.sendTogether().finally(() => {
      this.sending = undefined;
      if ([...this.questions.values()].some(({ waiters }) => waiters.length > 0)) this.collect();
    });
    return this.sending;
  }

  private async sendTogether(): Promise<void> {
    const sentAt = this.around.now();
    const asked = new Map([...this.questions].slice(0, MOST_TOGETHER));
    for (const key of asked.keys()) this.questions.delete(key);
    const requests = [...asked].map(([key, question]) => this.requestOf(key, question, sentAt)).filter((request) => request !== undefined);
    let grants: LeaseGrant[] = [];
    let failure: { error: unknown } | undefined;
    try {
      if (requests.length > 0) grants = await this.around.grant(this.terms, requests);
    } catch (error) {
      failure = { error };
    }
    for (const { lease } of asked.values()) lease.isAsking = false;
    for (const grant of grants) {
      this.settle(asked.get(grant.key)!, grant, sentAt);
      asked.delete(grant.key);
    }
    for (const [key, { lease, waiters }] of asked) {
      if (failure !== undefined) for (const waiter of waiters) waiter.reject(failure.error);
      // Another process was inserting the row.
      else if (waiters.length > 0) this.ask(key, lease).waiters.unshift(...waiters);
    }
  }

  private requestOf(key: string, { lease, waiters, isLast }: Question, now: number): LeaseRequest | undefined {
    const ahead = this.isClosed || isLast ? 0 : lease.wanted(now, waiters.length);
    const unused = lease.takeUnused();
    if (ahead === 0 && waiters.length === 0 && unused === undefined) return undefined;
    return { key, waiting: waiters.length, ahead, unused: unused?.left ?? 0, mark: unused?.mark ?? 0 };
  }

  private settle({ lease, waiters }: Question, grant: LeaseGrant, sentAt: number): void {
    const now = this.around.now();
    lease.grant(grant, { waiting: waiters.length, sentAt, now });
    if (waiters.length > 0 || grant.leased > 0) this.remember(grant.key, lease);
    for (const [index, waiter] of waiters.entries()) {
      const later = (grant.admitted - 1 - index) * this.terms.interval;
      const left = later < 0 ? lease.take(now) : undefined;
      if (later >= 0) waiter.resolve({ allowed: true, secondsUntilFull: (grant.backlog - later) / 1e6 });
      else waiter.resolve({ allowed: left !== undefined, secondsUntilFull: grant.backlog / 1e6, left });
    }
  }

  private remember(key: string, lease: CallerLease): CallerLease {
    this.callers.delete(key);
    this.callers.set(key, lease);
    if (this.callers.size > MOST_CALLERS) this.callers.delete(this.callers.keys().next().value!);
    this.startTicking();
    return lease;
  }

  private forget(key: string, lease: CallerLease): void {
    this.callers.delete(key);
    lease.end();
    if (lease.hasUnused) this.ask(key, lease, true);
  }

  private startTicking(): void {
    if (this.isTicking) return;
    this.isTicking = true;
    this.around.after(TICK_MS, () => {
      this.isTicking = false;
      this.sweep();
      if (this.questions.size > 0) this.collect();
      if (this.callers.size > 0) this.startTicking();
    });
  }

  private sweep(): void {
    const now = this.around.now();
    for (const [key, lease] of this.callers) {
      if (!lease.hasEnded(now)) break;
      this.forget(key, lease);
    }
  }
}

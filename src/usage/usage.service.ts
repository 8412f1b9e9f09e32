import { Injectable } from '@nestjs/common';
import { Clock } from '../platform/time/clock.service.js';
import { InvalidRequest } from '../platform/problems/problems.errors.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { newId } from '../platform/crypto/ids.js';
import type { Owner } from '../owners/owner.js';
import { bounded, type InvalidField } from '../platform/problems/problem.js';
import type { Plan, PlanLimits } from '../plans/plans.js';
import { PlansService } from '../plans/plans.service.js';
import { QuotaBalance } from './quotas/quota-balance.js';
import type { MeteredOwner } from './quotas/metered-owner.js';
import { quotaOf } from './ledger/ledger-decider.js';
import type { UsageAlert } from './alerts/usage-alerts.table.js';
import type { EventResult, GivenEvent, HoldOperation, Quota, Result } from './ledger/operations.js';
import { readEvent, type UsageEvent } from './events/usage-event.js';
import type { UsageHold } from './holds/usage-holds.table.js';
import { fingerprintOf } from './events/usage-fingerprint.js';
import { UsageLedger } from './ledger/usage-ledger.service.js';
import type { UsagePeriod } from './quotas/usage-period.js';
import { UsagePeriods } from './quotas/usage-periods.service.js';
import type { UsageQuota } from './quotas/usage-quotas.table.js';
import { HoldNotFound } from './usage.errors.js';
import { UsageRepository } from './ledger/usage.repository.js';

const MOST_EVENTS = 1000;
/** Mistakes that the answer to a batch names of one item. */
const MAX_ITEM_ERRORS = 3;
const MAX_EVENT_ID = 200;

/** Whose usage it is, and who says so. */
export interface UsageCaller {
  owner: Owner;
  /** Null for an API key. */
  userId: string | null;
  /** Whose usage they may record beside their own: that of everybody who belongs, or belonged, to the organization. */
  mayName: 'members' | 'nobody';
}

/** What a hold is asked for. */
export interface HoldRequested {
  estimatedTokens: number;
  holdId?: string;
  model?: string;
  userId?: string;
  expiresInSeconds: number;
}

/** What became of an operation, and which plan would have let it through. */
export type Answered = Result & { suggestedPlan?: Plan };

/** An item of a batch: one that cannot be read never came to be decided about. */
export type BatchResult = EventResult & { errors?: InvalidField[] };

@Injectable()
export class UsageService {
  constructor(
    private readonly ledger: UsageLedger,
    private readonly repository: UsageRepository,
    private readonly plans: PlansService,
    private readonly periods: UsagePeriods,
    private readonly cursors: Cursors,
    private readonly clock: Clock,
  ) {}

  /** @throws {InvalidRequest} */
  async record(caller: UsageCaller, given: unknown): Promise<Answered> {
    const event = this.readOne(caller, given);
    const result = await this.ledger.submit({ kind: 'record', owner: caller.owner, events: [event] });
    return this.withHelp(result, [event.tokensUsed]);
  }

  /** @throws {InvalidRequest} where it is no batch; what is wrong with an item is said in its place */
  async recordBatch(caller: UsageCaller, given: unknown): Promise<Answered & { items: BatchResult[] }> {
    const items = itemsOf(given).map((item, index) => ({ item, read: this.read(caller, item, `body.events.${index}`) }));
    const events = items.flatMap(({ read }) => ('event' in read ? [read.event] : []));
    const result = await this.ledger.submit({ kind: 'record', owner: caller.owner, events });
    const decided = result.events.values();
    return {
      ...this.withHelp(
        result,
        events.map(({ tokensUsed }) => tokensUsed),
      ),
      items:
        result.refused === undefined
          ? items.map(({ item, read }) => ('event' in read ? decided.next().value! : invalid(item, read.errors)))
          : [],
    };
  }

  /** @throws {InvalidRequest} */
  async hold(caller: UsageCaller, { estimatedTokens, holdId, model, userId, expiresInSeconds }: HoldRequested): Promise<Answered> {
    const wrong = this.wrongUser(caller, userId, 'body');
    if (wrong !== undefined) throw new InvalidRequest({ errors: [wrong] });
    const hold: HoldOperation['hold'] = {
      id: holdId?.toLowerCase() ?? newId(),
      tokens: estimatedTokens,
      model: model ?? null,
      ...this.actorOf(caller, userId),
      ttlMs: expiresInSeconds * 1000,
    };
    const result = await this.ledger.submit({ kind: 'hold', owner: caller.owner, hold });
    return this.withHelp(result, [estimatedTokens]);
  }

  /** @throws {InvalidRequest} @throws {HoldNotFound} */
  async settle(caller: UsageCaller, holdId: string, given: unknown): Promise<Answered> {
    const event = this.readOne(caller, given);
    const hold = await this.findHold(caller.owner, holdId);
    return this.ledger.submit({ kind: 'settle', owner: caller.owner, hold, event });
  }

  /** @throws {HoldNotFound} */
  async release(caller: UsageCaller, holdId: string): Promise<Answered> {
    const hold = await this.findHold(caller.owner, holdId);
    return this.ledger.submit({ kind: 'release', owner: caller.owner, hold });
  }

  /** The period of now. */
  async getQuota({ owner }: UsageCaller): Promise<Quota & { plan: Plan }> {
    const now = this.clock.now();
    const customer = (await this.ledger.customersOf([{ owner }], now)).get(owner.id)!;
    const { plan } = customer.entitlement;
    const period = customer.periodAt(now);
    const quotas = await this.listCounted(customer, period, now);
    const accounts = quotas.map(({ used, overrun, held }) => {
      const state = { used, overrun, held, alerted: 0, requestsOwed: 0, tokensOwed: 0, owedAt: 0 };
      return new QuotaBalance(state, plan.limits, now.getTime());
    });
    const [own, ...carried] = accounts;
    for (const earlier of carried) own!.carry(earlier);
    return { ...quotaOf(period, own!), plan };
  }

  /** The latest first. */
  async listAlerts({ owner }: UsageCaller, { limit, cursor }: { limit: number; cursor?: string }): Promise<Page<UsageAlert>> {
    const list = ['usage-alerts', owner];
    const position = this.cursors.read(cursor, list);
    const after = position && { periodStart: String(position[0]), threshold: Number(position[1]) };
    const rows = await this.repository.listAlerts(owner.id, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ periodStart, threshold }) => [periodStart.toISOString(), threshold] });
  }

  /** What counts in a period: its own quota, and those that are carried into it. */
  private async listCounted(customer: MeteredOwner, period: UsagePeriod, now: Date): Promise<Counted[]> {
    const starts = [period, ...customer.carriedInto(period)].map(({ start }) => start);
    const list = async () => this.repository.listQuotas(customer.owner.id, starts, now);
    let rows = await list();
    const find = (start: Date) => rows.find(({ periodStart }) => periodStart.getTime() === start.getTime());
    if (find(period.start) === undefined && (await this.periods.settle(customer, period))) rows = await list();
    return starts.map((start) => find(start) ?? { used: 0, overrun: 0, held: 0 });
  }

  private async findHold(owner: Owner, id: string): Promise<UsageHold> {
    const hold = await this.repository.findHold(owner.id, id);
    if (hold === undefined) throw new HoldNotFound();
    return hold;
  }

  private readOne(caller: UsageCaller, given: unknown): GivenEvent {
    const read = this.read(caller, given, 'body');
    if ('errors' in read) throw new InvalidRequest({ errors: read.errors });
    return read.event;
  }

  private read(caller: UsageCaller, given: unknown, path: string): { event: GivenEvent } | { errors: InvalidField[] } {
    const read = readEvent(given, path);
    if ('errors' in read) return read;
    const { event } = read;
    const wrong = this.wrongUser(caller, event.userId, path);
    return wrong === undefined ? { event: this.complete(caller, event) } : { errors: [wrong] };
  }

  private complete(caller: UsageCaller, event: UsageEvent): GivenEvent {
    const actor = this.actorOf(caller, event.userId);
    const fingerprint = fingerprintOf(event.content, actor.actorUserId);
    return { ...event, ...actor, fingerprint, occurredAt: event.occurredAt ?? this.clock.now() };
  }

  private actorOf(
    { userId: self, owner }: UsageCaller,
    userId: string | undefined,
  ): Pick<GivenEvent, 'actorUserId' | 'needsMembershipCheck'> {
    const actorUserId = userId?.toLowerCase() ?? self;
    return { actorUserId, needsMembershipCheck: owner.kind === 'organization' && actorUserId !== null && actorUserId !== self };
  }

  private wrongUser({ userId: self, mayName }: UsageCaller, userId: string | undefined, path: string): InvalidField | undefined {
    if (userId === undefined || userId.toLowerCase() === self || mayName === 'members') return undefined;
    return { path: `${path}.userId`, message: 'userId must be your own, or left out' };
  }

  /**
   * Where a cap was in the way: the first plan that would have let everything through.
   *
   * @param asked tokens, of each event or of the hold
   */
  private withHelp(result: Result, asked: number[]): Answered {
    const isWhole = result.refused === 'quota_exceeded';
    const refused = asked.filter((_, index) => isWhole || result.events[index]?.reason === 'quota_exceeded');
    if (refused.length === 0) return result;
    const { used, held, limit } = result.quota;
    const needed = refused.reduce((sum, tokens) => sum + tokens, used + held);
    // Where an earlier period had no room, only a plan that allows more than this one helps, too.
    return { ...result, suggestedPlan: this.plans.list().find(({ limits }) => allows(limits, Math.max(needed, limit! + 1))) };
  }
}

type Counted = Pick<UsageQuota, 'used' | 'overrun' | 'held'>;

function allows({ tokenLimit, tokensPerPeriod }: PlanLimits, tokens: number): boolean {
  return tokenLimit === 'soft' || tokensPerPeriod === null || tokensPerPeriod >= tokens;
}

function itemsOf(given: unknown): unknown[] {
  const { events, ...rest } = given as { events?: unknown };
  const errors = Object.keys(rest).map((name) => ({ path: `body.${name}`, message: `property ${name} should not exist` }));
  if (errors.length > 0) throw new InvalidRequest({ errors });
  if (!Array.isArray(events) || events.length === 0 || events.length > MOST_EVENTS)
    throw new InvalidRequest({ errors: [{ path: 'body.events', message: `events must be a list of 1 to ${MOST_EVENTS}` }] });
  return events;
}

/** Repeats the event's id where it has one, so that the caller finds the event. */
function invalid(item: unknown, errors: InvalidField[]): BatchResult {
  const eventId = typeof item === 'object' && item !== null && 'eventId' in item && typeof item.eventId === 'string' ? item.eventId : '';
  return {
    eventId: eventId.slice(0, MAX_EVENT_ID).toWellFormed(),
    outcome: 'rejected',
    reason: 'invalid',
    errors: bounded(errors, MAX_ITEM_ERRORS),
  };
}

import { Injectable } from '@nestjs/common';
import type { Plan } from '../plans/plans.js';
import { PlansService } from '../plans/plans.service.js';
import { newId } from '../platform/crypto/ids.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { InvalidRequest } from '../platform/problems/problems.errors.js';
import { Clock } from '../platform/time/clock.service.js';
import { UsageAlertsRepository } from './alerts/usage-alerts.repository.js';
import type { UsageAlert } from './alerts/usage-alerts.table.js';
import {
  attributionOf,
  type BatchItemResult,
  invalidItem,
  parseAttributedEvent,
  parseBatch,
  userIdError,
  itemPath,
} from './events/event-attribution.js';
import { UsageHoldsRepository } from './holds/usage-holds.repository.js';
import type { UsageHold } from './holds/usage-holds.table.js';
import { quotaOf } from './ledger/locked-quotas.js';
import type { AttributedEvent, HoldOperation, OperationResult, Quota } from './ledger/operations.js';
import { UsageMetrics } from './ledger/usage-metrics.service.js';
import { UsageLedger } from './ledger/usage-ledger.service.js';
import type { MeteredOwner } from './quotas/metered-owner.js';
import { QuotaBalance } from './quotas/quota-balance.js';
import { suggestPlan } from './quotas/suggested-plan.js';
import type { UsagePeriod } from './quotas/usage-period.js';
import { UsagePeriods } from './quotas/usage-periods.service.js';
import { type QuotaUsage, UsageQuotasRepository } from './quotas/usage-quotas.repository.js';
import type { UsageCaller } from './usage-caller.js';
import { HoldNotFound } from './usage.errors.js';

export interface HoldTerms {
  estimatedTokens: number;
  holdId?: string;
  model?: string;
  userId?: string;
  expiresInSeconds: number;
}

export type UsageResult = OperationResult & {
  /** The plan that would have accepted what the cap refused. */
  suggestedPlan?: Plan;
};

@Injectable()
export class UsageService {
  constructor(
    private readonly ledger: UsageLedger,
    private readonly holds: UsageHoldsRepository,
    private readonly quotas: UsageQuotasRepository,
    private readonly alerts: UsageAlertsRepository,
    private readonly plans: PlansService,
    private readonly periods: UsagePeriods,
    private readonly cursors: Cursors,
    private readonly clock: Clock,
    private readonly metrics: UsageMetrics,
  ) {}

  /** @throws {InvalidRequest} */
  async record(caller: UsageCaller, input: unknown): Promise<UsageResult> {
    const event = this.parse(caller, input);
    const result = await this.ledger.submit({ kind: 'record', owner: caller.owner, events: [event] });
    return this.withSuggestedPlan(result, [event.tokensUsed]);
  }

  /** @throws {InvalidRequest} if the body is no batch; an invalid event is rejected alone */
  async recordBatch(caller: UsageCaller, body: unknown): Promise<UsageResult & { items: BatchItemResult[] }> {
    const batch = parseBatch(body);
    if ('errors' in batch) throw new InvalidRequest({ errors: batch.errors });
    const now = this.clock.now();
    const events: AttributedEvent[] = [];
    const invalid = new Map<number, BatchItemResult>();
    for (const [index, item] of batch.items.entries()) {
      const parsed = parseAttributedEvent(caller, item, { path: itemPath(index), now });
      if ('event' in parsed) events.push(parsed.event);
      else invalid.set(index, invalidItem(item, parsed.errors));
    }
    this.metrics.countInvalid(invalid.size);
    const result = await this.ledger.submit({ kind: 'record', owner: caller.owner, events });
    const tokens = events.map(({ tokensUsed }) => tokensUsed);
    if (result.refused !== undefined) return { ...this.withSuggestedPlan(result, tokens), items: [] };
    const decided = result.events.values();
    const items = invalid.size === 0 ? result.events : batch.items.map((_, index) => invalid.get(index) ?? decided.next().value!);
    return { ...this.withSuggestedPlan(result, tokens), items };
  }

  /** @throws {InvalidRequest} */
  async hold(caller: UsageCaller, { estimatedTokens, holdId, model, userId, expiresInSeconds }: HoldTerms): Promise<UsageResult> {
    const error = userIdError(caller, userId, 'body');
    if (error !== undefined) throw new InvalidRequest({ errors: [error] });
    const hold: HoldOperation['hold'] = {
      id: holdId?.toLowerCase() ?? newId(),
      tokens: estimatedTokens,
      model: model ?? null,
      ...attributionOf(caller, userId),
      ttlMs: expiresInSeconds * 1000,
    };
    const result = await this.ledger.submit({ kind: 'hold', owner: caller.owner, hold });
    return this.withSuggestedPlan(result, [estimatedTokens]);
  }

  /** @throws {InvalidRequest} @throws {HoldNotFound} */
  async settle(caller: UsageCaller, holdId: string, input: unknown): Promise<UsageResult> {
    const event = this.parse(caller, input);
    const hold = await this.getHold(caller.owner.id, holdId);
    return this.ledger.submit({ kind: 'settle', owner: caller.owner, hold, event });
  }

  /** @throws {HoldNotFound} */
  async release(caller: UsageCaller, holdId: string): Promise<UsageResult> {
    const hold = await this.getHold(caller.owner.id, holdId);
    return this.ledger.submit({ kind: 'release', owner: caller.owner, hold });
  }

  /** Returns the quota of the current period. */
  async getQuota({ owner }: UsageCaller): Promise<Quota & { plan: Plan }> {
    const now = this.clock.now();
    const metered = (await this.ledger.loadOwners([{ owner }], now)).get(owner.id)!;
    const { plan } = metered.entitlement;
    const period = metered.periodAt(now);
    const [balance, ...carried] = (await this.loadCounts(metered, period, now)).map(({ used, overrun, held }) => {
      const state = { used, overrun, held, alerted: 0, requestsOwed: 0, tokensOwed: 0, owedAt: 0 };
      return new QuotaBalance(state, plan.limits, now.getTime());
    });
    for (const earlier of carried) balance!.addCarried(earlier);
    return { ...quotaOf(period, balance!, now), plan };
  }

  /** Sorted by period, the latest first. */
  async listAlerts({ owner }: UsageCaller, { limit, cursor }: { limit: number; cursor?: string }): Promise<Page<UsageAlert>> {
    const list = ['usage-alerts', owner];
    const position = this.cursors.read(cursor, list);
    const after = position && { periodStart: String(position[0]), threshold: Number(position[1]) };
    const rows = await this.alerts.list(owner.id, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ periodStart, threshold }) => [periodStart.toISOString(), threshold] });
  }

  /** Returns the counts of a period, then those of the periods that are carried over into it. */
  private async loadCounts(metered: MeteredOwner, period: UsagePeriod, now: Date): Promise<QuotaUsage[]> {
    const starts = [period, ...metered.carrySources(period)].map(({ start }) => start);
    const list = async () => this.quotas.list(metered.owner.id, starts, now);
    let rows = await list();
    const find = (start: Date) => rows.find(({ periodStart }) => periodStart.getTime() === start.getTime());
    if (find(period.start) === undefined && (await this.periods.moveUsageInto(period, metered))) rows = await list();
    return starts.map((start) => find(start) ?? { used: 0, overrun: 0, held: 0 });
  }

  private async getHold(ownerId: string, id: string): Promise<UsageHold> {
    const hold = await this.holds.find(ownerId, id);
    if (hold === undefined) throw new HoldNotFound();
    return hold;
  }

  private parse(caller: UsageCaller, input: unknown): AttributedEvent {
    const parsed = parseAttributedEvent(caller, input, { path: 'body', now: this.clock.now() });
    if ('event' in parsed) return parsed.event;
    this.metrics.countInvalid(1);
    throw new InvalidRequest({ errors: parsed.errors });
  }

  private withSuggestedPlan(result: OperationResult, tokens: number[]): UsageResult {
    const suggestedPlan = suggestPlan(this.plans.list(), result, tokens);
    return suggestedPlan === undefined ? result : { ...result, suggestedPlan };
  }
}

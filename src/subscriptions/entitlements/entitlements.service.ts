import { Injectable } from '@nestjs/common';
import type { Owner } from '../../owners/owner.js';
import { Config } from '../../platform/config/config.js';
import type { Queryable } from '../../platform/database/database.js';
import { Clock } from '../../platform/time/clock.service.js';
import { DAY_MS } from '../../platform/time/durations.js';
import type { Plan, Tier } from '../../plans/plans.js';
import { PlansService } from '../../plans/plans.service.js';
import { PaymentsRepository } from '../payments/payments.repository.js';
import { type EvaluatedSubscription, pickEffective, type Reason, returnedPaymentState, stateOf } from '../subscription-state.js';
import { PlanRequired } from '../subscriptions.errors.js';
import type { Subscription } from '../subscriptions.table.js';
import { billingPeriodsOf } from '../sync/billing-periods.js';
import type { BillingPeriods } from '../sync/billing-provider.port.js';
import { EntitlementsRepository } from './entitlements.repository.js';

export interface EffectiveSubscription {
  tier: Tier;
  plan: Plan;
  /** A subscription grants the plan. Without one, the owner has the free plan. */
  access: boolean;
  reason: Reason;
  until: Date | null;
  /** `limit` is the number paid for. `cap` is the hard limit; null where seats are bought as members join. */
  seats: { used: number; limit: number | null; cap: number | null };
  chosen?: EvaluatedSubscription;
  /** All subscriptions of the owner, the chosen one first. */
  considered: EvaluatedSubscription[];
}

export interface Entitlement {
  plan: Plan;
  /** The subscription that grants the plan. Missing for the free plan. */
  granting?: Subscription;
  /** The billing periods of that subscription, as far back as requested. */
  periods?: BillingPeriods;
}

/** Decides what an owner may use. The rules are the pure functions in `subscription-state.ts`. */
@Injectable()
export class EntitlementsService {
  private readonly policy: { unconfirmedMs: number };

  constructor(
    private readonly repository: EntitlementsRepository,
    private readonly payments: PaymentsRepository,
    private readonly plans: PlansService,
    private readonly clock: Clock,
    config: Config,
  ) {
    this.policy = { unconfirmedMs: config.billingUnconfirmedDays * DAY_MS };
  }

  async getEffective(owner: Owner, db?: Queryable): Promise<EffectiveSubscription> {
    const { rows, members: used } =
      owner.kind === 'organization'
        ? await this.repository.readOrganization(owner.id, db)
        : { rows: await this.repository.listByOwner(owner, db), members: 1 };
    const { considered, chosen, granting, plan } = this.choose(await this.evaluate(rows, db));
    return {
      tier: plan.tier,
      plan,
      access: granting !== undefined,
      reason: chosen?.state.reason ?? 'none',
      until: granting?.state.until ?? null,
      seats: { used, ...seatLimits(plan, granting) },
      chosen,
      considered: considered.toSorted((a, b) => Number(b === chosen) - Number(a === chosen)),
    };
  }

  /** The plans of many owners by their ids. @param periodsFrom leaves out billing periods that ended before it */
  async getEntitlements(ownerIds: string[], periodsFrom: Date): Promise<Map<string, Entitlement>> {
    const rows = await this.repository.listByOwners(ownerIds, periodsFrom);
    const evaluated = await this.evaluate(rows.map(({ row }) => row));
    const byOwner = Map.groupBy(evaluated, (_, index) => rows[index]!.requestedId);
    const periods = new Map(rows.map((one) => [one.row.id, one.periods]));
    return new Map(
      ownerIds.map((id) => {
        const { plan, granting } = this.choose(byOwner.get(id) ?? []);
        if (granting === undefined) return [id, { plan }];
        const { row } = granting;
        return [id, { plan, granting: row, periods: billingPeriodsOf(row, periods.get(row.id)!) }];
      }),
    );
  }

  /** @throws {PlanRequired} naming the plans that have the feature */
  async requireFeature(owner: Owner, feature: string): Promise<void> {
    const { plan } = this.choose(await this.evaluate(await this.repository.listByOwner(owner)));
    if (plan.limits.features.includes(feature)) return;
    const names = this.plans.tiersWithFeature(feature).map((tier) => this.plans.get(tier).name);
    const help = names.length === 0 ? 'No plan includes it.' : `It is part of ${names.join(' and ')}.`;
    throw new PlanRequired({ detail: `The plan ${plan.name} does not include "${feature}". ${help}` });
  }

  plansWithMoreSeats(cap: number): string[] {
    const larger = this.plans.list().filter(({ limits: { perSeat, seats } }) => perSeat || seats === null || seats > cap);
    return larger.map(({ name }) => name);
  }

  /** Evaluates each subscription by its own dates and status, and by payments that went back where its plan asks for that. */
  async evaluate(rows: Subscription[], db?: Queryable): Promise<EvaluatedSubscription[]> {
    const evaluated = await Promise.all(rows.map((row) => this.evaluateOne(row, db)));
    const refundable = evaluated.filter((one) => one.state.grants && this.endsWithRefund(one));
    if (refundable.length === 0) return evaluated;
    const ids = refundable.map(({ row }) => row.id);
    const returned = await this.payments.findReturned(ids, db);
    return evaluated.map((one) => {
      const reason = one.state.grants ? returned.get(one.row.id) : undefined;
      return reason === undefined ? one : { ...one, state: returnedPaymentState(reason) };
    });
  }

  private choose(considered: EvaluatedSubscription[]) {
    const chosen = pickEffective(considered);
    const granting = chosen?.state.grants === true ? chosen : undefined;
    return { considered, chosen, granting, plan: this.plans.get(granting?.tier ?? 'free') };
  }

  private async evaluateOne(row: Subscription, db?: Queryable): Promise<EvaluatedSubscription> {
    const tier = await this.findTier(row, db);
    const isPerSeat = tier !== undefined && this.plans.get(tier).limits.perSeat;
    return { row, tier, seats: isPerSeat ? row.seats : null, state: stateOf(row, tier, this.clock.now(), this.policy) };
  }

  private endsWithRefund({ row, tier }: EvaluatedSubscription): boolean {
    return row.provider !== 'manual' && tier !== undefined && this.plans.get(tier).onRefund === 'end';
  }

  /** A customer who changes to a product without a plan keeps the last known plan. */
  private async findTier({ id, provider, productId, tier }: Subscription, db?: Queryable): Promise<Tier | undefined> {
    if (provider === 'manual') return tier ?? undefined;
    const known = this.plans.tierOfProduct(provider, productId);
    if (known !== undefined) return known;
    const earlier = await this.repository.listProducts(id, db);
    return earlier.map((product) => this.plans.tierOfProduct(provider, product)).find((one) => one !== undefined);
  }
}

function seatLimits(
  { limits: { perSeat, seats } }: Plan,
  granting: EvaluatedSubscription | undefined,
): { limit: number | null; cap: number | null } {
  const limit = granting?.seats ?? seats;
  const isBoughtOnDemand = perSeat && granting !== undefined && granting.row.provider !== 'manual';
  return { limit, cap: isBoughtOnDemand ? null : limit };
}

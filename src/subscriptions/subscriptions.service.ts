import { Inject, Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { Clock } from '../platform/time/clock.service.js';
import { InvalidRequest } from '../platform/problems/problems.errors.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { newId } from '../platform/crypto/ids.js';
import type { Owner } from '../owners/owner.js';
import { Config } from '../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import type { Plan, Tier } from '../plans/plans.js';
import { PlansService } from '../plans/plans.service.js';
import { billingPeriodsOf } from './sync/billing-periods.js';
import type { BillingPeriods } from './sync/billing-provider.port.js';
import { PaymentsRepository, type PaymentWithState } from './payments/payments.repository.js';
import type { PaymentState } from './payments/payment-state.js';
import { pickEffective, type EvaluatedSubscription, type Reason, stateOf, returnedPaymentState } from './subscription-state.js';
import { NotAGrant, OwnerNotFound, PlanRequired, SubscriptionNotFound } from './subscriptions.errors.js';
import { type SubscriptionFilters, SubscriptionsRepository } from './subscriptions.repository.js';
import type { Subscription } from './subscriptions.table.js';
import { SubscriptionOwners } from './customers/subscription-owners.service.js';
import { DAY_MS } from '../platform/time/durations.js';

/** What an owner may use, and why. */
export interface EffectiveSubscription {
  tier: Tier;
  plan: Plan;
  /** Whether a subscription grants it; everybody has the free plan. */
  access: boolean;
  reason: Reason;
  until: Date | null;
  /** `limit` is what is paid for, `cap` what nobody can pass: seats that are bought follow the members. */
  seats: { used: number; limit: number | null; cap: number | null };
  /** The row that decided. */
  chosen?: EvaluatedSubscription<Subscription>;
  /** All of the owner's, the one that decided first. */
  considered: EvaluatedSubscription<Subscription>[];
}

export type ConsideredSubscription = EvaluatedSubscription<Subscription>;

/** What an owner may use by plan, without the rest of it. */
export interface Entitlement {
  plan: Plan;
  /** The subscription that grants it; without one everybody has the free plan. */
  granting?: Subscription;
  /** Its billing periods, as far back as was asked for. */
  periods?: BillingPeriods;
}

/** Whose: exactly one of both. */
export interface OwnerReference {
  organizationId?: string;
  userId?: string;
}

export interface Grant extends OwnerReference {
  /** Or another name of the plan. */
  tier: string;
  endsAt?: Date;
  seats?: number;
  note?: string;
}

/**
 * Who may use what. Other modules ask `effectiveOf` or `require`, or put `@Requires('feature')` on a route; the
 * rules are in `subscription-state.ts`, and nowhere else.
 */
@Injectable()
export class SubscriptionsService {
  private readonly policy: { unconfirmedMs: number };

  constructor(
    private readonly repository: SubscriptionsRepository,
    private readonly paid: PaymentsRepository,
    private readonly owners: SubscriptionOwners,
    private readonly plans: PlansService,
    private readonly cursors: Cursors,
    private readonly clock: Clock,
    config: Config,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.policy = { unconfirmedMs: config.billingUnconfirmedDays * DAY_MS };
  }

  async getEffective(owner: Owner, db?: Queryable): Promise<EffectiveSubscription> {
    const [{ considered, chosen, granting, plan }, used] = await Promise.all([
      this.decide(owner, db),
      owner.kind === 'organization' ? this.repository.countMembers(owner.id, db) : 1,
    ]);
    return {
      tier: plan.tier,
      plan,
      access: granting !== undefined,
      reason: chosen?.state.reason ?? 'none',
      until: granting?.state.until ?? null,
      seats: { used, ...seatsOf(plan, granting) },
      chosen,
      considered: considered.toSorted((a, b) => Number(b === chosen) - Number(a === chosen)),
    };
  }

  /** Of many owners at once, by their ids. @param periodsFrom billing periods that were over by then are left out */
  async getEntitlements(ownerIds: string[], periodsFrom: Date): Promise<Map<string, Entitlement>> {
    const rows = await this.repository.listByOwners(ownerIds, periodsFrom);
    const evaluated = await this.evaluateAll(rows.map(({ row }) => row));
    const ofOwner = Map.groupBy(evaluated, (_, index) => rows[index]!.requestedId);
    const periods = new Map(rows.map((one) => [one.row.id, one.periods]));
    return new Map(
      ownerIds.map((id) => {
        const { plan, granting } = this.choose(ofOwner.get(id) ?? []);
        if (granting === undefined) return [id, { plan }];
        const { row } = granting;
        return [id, { plan, granting: row, periods: billingPeriodsOf(row, periods.get(row.id)!) }];
      }),
    );
  }

  /** @throws {PlanRequired} naming the plans that have the feature */
  async requireFeature(owner: Owner, feature: string): Promise<void> {
    const { plan } = await this.decide(owner);
    if (plan.limits.features.includes(feature)) return;
    const names = this.plans.tiersWithFeature(feature).map((tier) => this.plans.get(tier).name);
    const help = names.length === 0 ? 'No plan includes it.' : `It is part of ${names.join(' and ')}.`;
    throw new PlanRequired({ detail: `The plan ${plan.name} does not include "${feature}". ${help}` });
  }

  /** Names of the plans that let more people in than this many. */
  plansWithMoreSeats(cap: number): string[] {
    const larger = this.plans.list().filter(({ limits: { perSeat, seats } }) => perSeat || seats === null || seats > cap);
    return larger.map(({ name }) => name);
  }

  async listPayments(
    owner: Owner,
    { limit, cursor, status }: { limit: number; cursor?: string; status?: PaymentState },
  ): Promise<Page<PaymentWithState>> {
    const list = ['payments', owner, status];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.paid.list(owner, status, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ occurredAt, id }) => [occurredAt.toISOString(), id] });
  }

  async list({
    limit,
    cursor,
    ...filters
  }: SubscriptionFilters & { limit: number; cursor?: string }): Promise<Page<ConsideredSubscription>> {
    const list = ['subscriptions', filters];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.repository.list(filters, { limit: limit + 1, after });
    const page = this.cursors.page(rows, { limit, list, position: ({ createdAt, id }) => [createdAt.toISOString(), id] });
    return { ...page, data: await this.evaluateAll(page.data) };
  }

  /** Grants an owner a plan without a provider. @throws {InvalidRequest} @throws {OwnerNotFound} */
  async grant({ tier: name, endsAt, seats, note, ...ids }: Grant, actor: Actor, db: Queryable): Promise<ConsideredSubscription> {
    const { tier, limits } = this.requirePlan(name);
    if (tier === 'free') throw new InvalidRequest({ errors: [{ path: 'body.tier', message: 'tier free is what everybody has' }] });
    if (seats !== undefined && !limits.perSeat)
      throw new InvalidRequest({ errors: [{ path: 'body.seats', message: `seats cannot be given: the plan ${tier} is not per seat` }] });
    const owner = await this.lockOwner(ids, db);
    const now = this.clock.now();
    const row = await this.repository.insert(
      {
        id: newId(),
        provider: 'manual',
        ownerKind: owner.kind,
        ownerId: owner.id,
        ownerLinked: true,
        tier,
        status: 'active',
        startedAt: now,
        currentPeriodStart: now,
        endsAt,
        seats,
        note,
      },
      db,
    );
    await this.owners.record('subscription.granted', row, actor, { after: { tier, endsAt, seats, note } }, db);
    return this.judgeOne(row);
  }

  /**
   * Ends a grant now. One that is over stays as it is.
   *
   * @throws {SubscriptionNotFound} @throws {NotAGrant}
   */
  async endGrant(id: string, actor: Actor): Promise<void> {
    await this.db.transaction(async (tx) => {
      const before = found(await this.repository.lock(id, tx));
      if (before.provider !== 'manual') throw new NotAGrant();
      if (before.status === 'canceled') return;
      const now = this.clock.now();
      await this.repository.update(id, { status: 'canceled', canceledAt: now, endedAt: now }, tx);
      await this.owners.record(
        'subscription.grant_ended',
        before,
        actor,
        { before: { status: before.status }, after: { status: 'canceled' } },
        tx,
      );
    });
  }

  /**
   * Says for good whose a subscription is, and so its customer if nobody's yet; what else hangs on that customer follows.
   *
   * @throws {InvalidRequest} @throws {SubscriptionNotFound} @throws {OwnerNotFound}
   */
  async link(id: string, ids: OwnerReference, actor: Actor): Promise<ConsideredSubscription> {
    const linked = await this.db.transaction(async (tx) => {
      const known = found(await this.repository.find(id, tx));
      const owner = await this.lockOwner(ids, tx);
      return this.owners.link(known, owner, actor, tx);
    });
    return this.judgeOne(linked);
  }

  /** @throws {InvalidRequest} */
  requirePlan(name: string): Plan {
    const plan = this.plans.find(name);
    if (plan !== undefined) return plan;
    const names = this.plans.list().map(({ tier }) => tier);
    throw new InvalidRequest({ errors: [{ path: 'body.tier', message: `tier must be one of ${names.join(', ')}` }] });
  }

  private async lockOwner({ organizationId, userId }: OwnerReference, db: Queryable): Promise<Owner> {
    if ((organizationId === undefined) === (userId === undefined))
      throw new InvalidRequest({ errors: [{ path: 'body.organizationId', message: 'name either organizationId or userId' }] });
    const owner: Owner = organizationId === undefined ? { kind: 'user', id: userId! } : { kind: 'organization', id: organizationId };
    if (!(await this.repository.lockLiveOwner(owner, db))) throw new OwnerNotFound();
    return owner;
  }

  /** Without the seats, which take counting. */
  private async decide(owner: Owner, db?: Queryable) {
    return this.choose(await this.evaluateAll(await this.repository.listByOwner(owner, db), db));
  }

  private choose(considered: ConsideredSubscription[]) {
    const chosen = pickEffective(considered);
    const granting = chosen?.state.grants === true ? chosen : undefined;
    return { considered, chosen, granting, plan: this.plans.get(granting?.tier ?? 'free') };
  }

  private async evaluateAll(rows: Subscription[], db?: Queryable): Promise<ConsideredSubscription[]> {
    const evaluated = await Promise.all(rows.map((row) => this.evaluate(row, db)));
    const ending = evaluated.filter((one) => one.state.grants && this.endsWithRefund(one));
    if (ending.length === 0) return evaluated;
    const returned = await this.paid.findReturned(
      ending.map(({ row }) => row.id),
      db,
    );
    return evaluated.map((one) => {
      const how = one.state.grants ? returned.get(one.row.id) : undefined;
      return how === undefined ? one : { ...one, state: returnedPaymentState(how) };
    });
  }

  private async judgeOne(row: Subscription): Promise<ConsideredSubscription> {
    return (await this.evaluateAll([row]))[0]!;
  }

  private endsWithRefund({ row, tier }: ConsideredSubscription): boolean {
    return row.provider !== 'manual' && tier !== undefined && this.plans.get(tier).onRefund === 'end';
  }

  private async evaluate(row: Subscription, db?: Queryable): Promise<ConsideredSubscription> {
    const tier = await this.tierOf(row, db);
    const isPerSeat = tier !== undefined && this.plans.get(tier).limits.perSeat;
    return { row, tier, seats: isPerSeat ? row.seats : null, state: stateOf(row, tier, this.clock.now(), this.policy) };
  }

  /** A payer who changed to a product that nobody has mapped keeps the last plan that is known. */
  private async tierOf({ id, provider, productId, tier }: Subscription, db?: Queryable): Promise<Tier | undefined> {
    if (provider === 'manual') return tier ?? undefined;
    const known = this.plans.tierOfProduct(provider, productId);
    if (known !== undefined) return known;
    const earlier = await this.repository.listProducts(id, db);
    return earlier.map((product) => this.plans.tierOfProduct(provider, product)).find((one) => one !== undefined);
  }
}

function seatsOf(
  { limits: { perSeat, seats } }: Plan,
  granting: ConsideredSubscription | undefined,
): { limit: number | null; cap: number | null } {
  const limit = granting?.seats ?? seats;
  const follow = perSeat && granting !== undefined && granting.row.provider !== 'manual';
  return { limit, cap: follow ? null : limit };
}

function found(subscription: Subscription | undefined): Subscription {
  if (subscription === undefined) throw new SubscriptionNotFound();
  return subscription;
}

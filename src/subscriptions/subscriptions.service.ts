import { Inject, Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import type { Owner } from '../owners/owner.js';
import { newId } from '../platform/crypto/ids.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { InvalidRequest } from '../platform/problems/problems.errors.js';
import { Clock } from '../platform/time/clock.service.js';
import { PlansService } from '../plans/plans.service.js';
import { BillingCustomersRepository } from './customers/billing-customers.repository.js';
import { SubscriptionOwners } from './customers/subscription-owners.service.js';
import { EntitlementsService } from './entitlements/entitlements.service.js';
import type { EvaluatedSubscription } from './subscription-state.js';
import { NotAGrant, OwnerNotFound, SubscriptionNotFound } from './subscriptions.errors.js';
import { type SubscriptionFilters, SubscriptionsRepository } from './subscriptions.repository.js';
import type { Subscription } from './subscriptions.table.js';

/** Names an owner by exactly one of the two ids. */
export interface OwnerReference {
  organizationId?: string;
  userId?: string;
}

export interface Grant extends OwnerReference {
  tier: string;
  endsAt?: Date;
  seats?: number;
  note?: string;
}

/** What operators do with subscriptions: list, grant, end a grant, link to an owner. */
@Injectable()
export class SubscriptionsService {
  constructor(
    private readonly repository: SubscriptionsRepository,
    private readonly customers: BillingCustomersRepository,
    private readonly owners: SubscriptionOwners,
    private readonly entitlements: EntitlementsService,
    private readonly plans: PlansService,
    private readonly cursors: Cursors,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  async list({
    limit,
    cursor,
    ...filters
  }: SubscriptionFilters & { limit: number; cursor?: string }): Promise<Page<EvaluatedSubscription>> {
    const list = ['subscriptions', filters];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.repository.list(filters, { limit: limit + 1, after });
    const page = this.cursors.page(rows, { limit, list, position: ({ createdAt, id }) => [createdAt.toISOString(), id] });
    return { ...page, data: await this.entitlements.evaluate(page.data) };
  }

  /** Grants an owner a plan without a provider. @throws {InvalidRequest} @throws {OwnerNotFound} */
  async grant({ tier: name, endsAt, seats, note, ...reference }: Grant, actor: Actor, db: Queryable): Promise<EvaluatedSubscription> {
    const { tier, limits } = this.plans.require(name);
    if (tier === 'free') throw new InvalidRequest({ errors: [{ field: 'tier', message: 'tier cannot be free: every owner has it' }] });
    if (seats !== undefined && !limits.perSeat)
      throw new InvalidRequest({ errors: [{ field: 'seats', message: `seats cannot be given: the plan ${tier} is not per seat` }] });
    const owner = await this.lockOwner(reference, db);
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
    return this.evaluate(row);
  }

  /** Ends a grant now. A grant that has ended stays as it is. @throws {SubscriptionNotFound} @throws {NotAGrant} */
  async endGrant(id: string, actor: Actor): Promise<void> {
    await this.db.transaction(async (tx) => {
      const before = requireFound(await this.repository.lock(id, tx));
      if (before.provider !== 'manual') throw new NotAGrant();
      if (before.status === 'canceled') return;
      const now = this.clock.now();
      await this.repository.update(id, { status: 'canceled', canceledAt: now, endedAt: now }, tx);
      const change = { before: { status: before.status }, after: { status: 'canceled' } };
      await this.owners.record('subscription.grant_ended', before, actor, change, tx);
    });
  }

  /**
   * Links a subscription to an owner for good. A customer without an owner is linked too, and what else that customer bought follows.
   * @throws {InvalidRequest} @throws {SubscriptionNotFound} @throws {OwnerNotFound}
   */
  async link(id: string, reference: OwnerReference, actor: Actor): Promise<EvaluatedSubscription> {
    const linked = await this.db.transaction(async (tx) => {
      const subscription = requireFound(await this.repository.find(id, tx));
      const owner = await this.lockOwner(reference, tx);
      return this.owners.link(subscription, owner, actor, tx);
    });
    return this.evaluate(linked);
  }

  private async lockOwner({ organizationId, userId }: OwnerReference, db: Queryable): Promise<Owner> {
    if ((organizationId === undefined) === (userId === undefined))
      throw new InvalidRequest({ errors: [{ field: 'organizationId', message: 'give either organizationId or userId' }] });
    const owner: Owner = organizationId === undefined ? { kind: 'user', id: userId! } : { kind: 'organization', id: organizationId };
    if (!(await this.customers.lockLiveOwner(owner, db))) throw new OwnerNotFound();
    return owner;
  }

  private async evaluate(row: Subscription): Promise<EvaluatedSubscription> {
    return (await this.entitlements.evaluate([row]))[0]!;
  }
}

function requireFound(subscription: Subscription | undefined): Subscription {
  if (subscription === undefined) throw new SubscriptionNotFound();
  return subscription;
}

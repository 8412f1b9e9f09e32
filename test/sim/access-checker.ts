import { SLACK_MS } from '../../src/subscriptions/subscription-state.js';
import type { Effective } from '../support/billing/billing-app.js';
import type { Buyer } from './buyers.js';
import type { Stage } from './stage.js';

/** The longest time that access may differ from the payments, in any circumstances. */
const BOUND_MS = 10 * 86_400_000;

const RANK = { free: 0, pro: 1, business: 2 };

/** The state of a buyer at the providers, and its start. */
interface ProviderState {
  state: string;
  since: number;
}

/** Access that differs from the payments. */
export class Violation extends Error {}

/**
 * Checks that every payer has the paid access, and nobody else. The access must be right when the last event about a subscription was
 * delivered or a reconciliation ran since; before that, it may differ for a limited time.
 */
export class AccessChecker {
  checks = 0;
  /** Checks of buyers with an unavailable provider. */
  unconfirmed = 0;
  private readonly states = new Map<Buyer, ProviderState>();
  private reconciledAt = 0;

  constructor(
    private readonly stage: Stage,
    /** Whether a provider is reachable. */
    private readonly isUp: (provider: string) => boolean,
  ) {}

  /** Everything at the providers was compared. */
  noteReconciled(at: Date): void {
    this.reconciledAt = at.getTime();
  }

  /** @throws {Violation} */
  async check(buyers: Buyer[], now: Date): Promise<void> {
    const undelivered = new Set(this.stage.senders.flatMap((sender) => sender.undelivered()));
    for (const buyer of buyers) if (buyer.purchases.length > 0) await this.checkBuyer(buyer, now, undelivered);
  }

  private async checkBuyer(buyer: Buyer, now: Date, undelivered: Set<string>): Promise<void> {
    const { since } = this.stateOf(buyer, now);
    const answer = await this.fetchSubscription(buyer.organizationId);
    this.checks += 1;
    this.checkDates(buyer, now, answer);
    const isKnown = this.reconciledAt > since || this.lastMessages(buyer).every((messageId) => !undelivered.has(messageId));
    const age = now.getTime() - since;
    const wrong = this.differences(buyer, now, answer);
    if (wrong.length > 0 && (isKnown || age > BOUND_MS))
      throw new Violation(
        `${now.toISOString()}: ${buyer.organizationId}, as it is since ${new Date(since).toISOString()}: ${wrong.join('; ')}`,
      );
  }

  /** The differences from the providers' state. */
  private differences(buyer: Buyer, now: Date, { tier, explain: { rule, considered } }: Effective): string[] {
    const paidFor = buyer.paidFor(now);
    const isSlack = RANK[tier] > RANK[paidFor] && RANK[buyer.paidFor(new Date(now.getTime() - SLACK_MS))] >= RANK[tier];
    const rows = buyer.purchases.flatMap(({ shop, id }) => {
      const { status, productId } = shop.stateOf(id);
      const row = considered.find((one) => one.providerSubscriptionId === id);
      const isSame = row?.providerStatus === status && row.productId === productId;
      return isSame ? [] : [`${id} is ${status} of ${productId}, and ${row?.providerStatus} of ${row?.productId} here`];
    });
    return tier === paidFor || isSlack ? rows : [`it pays for ${paidFor} and has ${tier} (${rule})`, ...rows];
  }

  /** A passed date decides access only until the provider can be asked. */
  private checkDates(buyer: Buyer, now: Date, { explain: { considered } }: Effective): void {
    for (const { provider, providerSubscriptionId: id, status, reason, rule } of considered) {
      const isPaid = buyer.purchases.some((one) => one.id === id && one.shop.grantedProduct(id, now) !== undefined);
      const isLockedOut = reason === 'lapsed' && status !== 'canceled' && isPaid;
      if (reason === 'unconfirmed') this.unconfirmed += 1;
      if ((reason === 'unconfirmed' || isLockedOut) && this.isUp(provider))
        throw new Violation(`${now.toISOString()}: ${provider} was not asked about ${id} (${rule})`);
    }
  }

  /** The providers' state of all purchases of a buyer, without period dates, and the time since which it is unchanged. */
  private stateOf(buyer: Buyer, now: Date): ProviderState {
    const state = JSON.stringify([buyer.changes, ...buyer.purchases.map(({ shop, id }) => shop.stateOf(id))]);
    const previous = this.states.get(buyer);
    if (previous?.state === state) return previous;
    const current = { state, since: now.getTime() };
    this.states.set(buyer, current);
    return current;
  }

  /** The latest messages about the purchases of a buyer. */
  private lastMessages({ purchases }: Buyer): string[] {
    const events = this.stage.accounts.flatMap((account) => account.events);
    return purchases.map(
      ({ id }) => events.findLast(({ objectId, type }) => objectId === id && type.startsWith('subscription.'))!.messageId,
    );
  }

  private async fetchSubscription(organizationId: string): Promise<Effective> {
    const response = await fetch(`${this.stage.url}/v1/organizations/${organizationId}/subscription`, { headers: this.stage.operator });
    if (!response.ok) throw new Violation(`An operator was answered with ${response.status}`);
    return (await response.json()) as Effective;
  }
}

import { SLACK_MS } from '../../src/subscriptions/subscription-state.js';
import type { Effective } from '../support/billing/billing-app.js';
import type { Buyer } from './buyers.js';
import type { Stage } from './stage.js';

/** The longest that anybody has what they do not pay for, or not what they pay for, whatever befalls. */
const BOUND_MS = 10 * 86_400_000;

const RANK = { free: 0, pro: 1, business: 2 };

/** What the providers say of a buyer, and since when they have said it. */
interface Word {
  said: string;
  since: number;
}

/** Something that must not be. */
export class Violation extends Error {}

/**
 * Whoever pays has what they pay for, and nobody else has. Right at once when the last word about a subscription has
 * come or the providers were asked since; what did not come yet may count for a while.
 */
export class Watch {
  looks = 0;
  /** How many of them found somebody whose provider could not be asked. */
  unconfirmed = 0;
  private readonly words = new Map<Buyer, Word>();
  private reconciledAt = 0;

  constructor(
    private readonly stage: Stage,
    /** Whether a provider can be asked. */
    private readonly isUp: (provider: string) => boolean,
  ) {}

  /** All that the providers have was compared. */
  noteReconciled(at: Date): void {
    this.reconciledAt = at.getTime();
  }

  /** @throws {Violation} */
  async look(buyers: Buyer[], now: Date): Promise<void> {
    const undelivered = new Set(this.stage.couriers.flatMap((courier) => courier.undelivered()));
    for (const buyer of buyers) if (buyer.bought.length > 0) await this.lookAt(buyer, now, undelivered);
  }

  private async lookAt(buyer: Buyer, now: Date, undelivered: Set<string>): Promise<void> {
    const { since } = this.wordOf(buyer, now);
    const answer = await this.ask(buyer.organizationId);
    this.looks += 1;
    this.lookAtDates(buyer, now, answer);
    const isKnown = this.reconciledAt > since || this.lastWords(buyer).every((messageId) => !undelivered.has(messageId));
    const age = now.getTime() - since;
    const wrong = this.differences(buyer, now, answer);
    if (wrong.length > 0 && (isKnown || age > BOUND_MS))
      throw new Violation(
        `${now.toISOString()}: ${buyer.organizationId}, as it is since ${new Date(since).toISOString()}: ${wrong.join('; ')}`,
      );
  }

  /** What is not as the providers say. */
  private differences(buyer: Buyer, now: Date, { tier, explain: { rule, considered } }: Effective): string[] {
    const paidFor = buyer.paidFor(now);
    const isSlack = RANK[tier] > RANK[paidFor] && RANK[buyer.paidFor(new Date(now.getTime() - SLACK_MS))] >= RANK[tier];
    const rows = buyer.bought.flatMap(({ shop, id }) => {
      const { status, productId } = shop.stands(id);
      const row = considered.find((one) => one.providerSubscriptionId === id);
      const isSame = row?.providerStatus === status && row.productId === productId;
      return isSame ? [] : [`${id} is ${status} of ${productId}, and ${row?.providerStatus} of ${row?.productId} here`];
    });
    return tier === paidFor || isSlack ? rows : [`it pays for ${paidFor} and has ${tier} (${rule})`, ...rows];
  }

  /** A date that is over decides only until the provider has been asked. */
  private lookAtDates(buyer: Buyer, now: Date, { explain: { considered } }: Effective): void {
    for (const { provider, providerSubscriptionId: id, status, reason, rule } of considered) {
      const isPaid = buyer.bought.some((one) => one.id === id && one.shop.gives(id, now) !== undefined);
      const isLockedOut = reason === 'lapsed' && status !== 'canceled' && isPaid;
      if (reason === 'unconfirmed') this.unconfirmed += 1;
      if ((reason === 'unconfirmed' || isLockedOut) && this.isUp(provider))
        throw new Violation(`${now.toISOString()}: ${provider} was not asked about ${id} (${rule})`);
    }
  }

  /** Since when the providers say the same of all that somebody bought: how it stands, not until when. */
  private wordOf(buyer: Buyer, now: Date): Word {
    const said = JSON.stringify([buyer.changes, ...buyer.bought.map(({ shop, id }) => shop.stands(id))]);
    const known = this.words.get(buyer);
    if (known?.said === said) return known;
    const word = { said, since: now.getTime() };
    this.words.set(buyer, word);
    return word;
  }

  /** The last messages about what somebody bought. */
  private lastWords({ bought }: Buyer): string[] {
    const events = this.stage.accounts.flatMap((account) => account.events);
    return bought.map(({ id }) => events.findLast(({ objectId, type }) => objectId === id && type.startsWith('subscription.'))!.messageId);
  }

  private async ask(organizationId: string): Promise<Effective> {
    const response = await fetch(`${this.stage.url}/v1/organizations/${organizationId}/subscription`, { headers: this.stage.operator });
    if (!response.ok) throw new Violation(`An operator was answered with ${response.status}`);
    return (await response.json()) as Effective;
  }
}

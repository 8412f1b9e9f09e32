import { createHash } from 'node:crypto';
import { Inject, Injectable, Logger } from '@nestjs/common';
import type { Actor, UserPrincipal } from '../../access/principal.js';
import { isTrustedUrl } from '../../access/trusted-redirect.js';
import { AuditService } from '../../audit/audit.service.js';
import { InvalidRequest } from '../../platform/problems/problems.errors.js';
import { isEmail } from '../../platform/text/emails.js';
import { newId } from '../../platform/crypto/ids.js';
import type { Owner } from '../../owners/owner.js';
import { Config } from '../../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import type { IdempotentCall } from '../../idempotency/idempotency.decorators.js';
import type { BillingProviderName, Plan } from '../../plans/plans.js';
import { type BillingProvider, BillingProviderFailed, BillingProviders, type CheckoutSession } from '../sync/billing-provider.port.js';
import {
  AlreadySubscribed,
  BillingProviderAway,
  BillingProviderRefused,
  CheckoutUnavailable,
  NoBillingCustomer,
} from '../subscriptions.errors.js';
import { BillingCustomersRepository } from '../customers/billing-customers.repository.js';
import { SubscriptionOwners } from '../customers/subscription-owners.service.js';
import { EntitlementsService } from '../entitlements/entitlements.service.js';
import { PlansService } from '../../plans/plans.service.js';

export interface CheckoutChoice {
  tier: string;
  productId?: string;
  provider?: BillingProviderName;
  successUrl?: string;
}

export type OpenedCheckout = CheckoutSession & { provider: BillingProviderName };

const FIRST_RETRY_SECONDS = 5;

/** Opens checkouts and customer portals. A purchase counts only when the provider's event arrives. */
@Injectable()
export class CheckoutService {
  private readonly logger = new Logger(CheckoutService.name);

  constructor(
    private readonly customers: BillingCustomersRepository,
    private readonly entitlements: EntitlementsService,
    private readonly plans: PlansService,
    private readonly owners: SubscriptionOwners,
    private readonly providers: BillingProviders,
    private readonly audit: AuditService,
    private readonly config: Config,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /**
   * @throws {InvalidRequest} @throws {AlreadySubscribed} @throws {CheckoutUnavailable}
   * @throws {BillingProviderAway} @throws {BillingProviderRefused}
   */
  async open(
    owner: Owner,
    { tier, successUrl, ...choice }: CheckoutChoice,
    { identity }: Pick<IdempotentCall, 'identity'>,
    { userId, actor }: Pick<UserPrincipal, 'userId' | 'actor'>,
  ): Promise<OpenedCheckout> {
    const url = this.requireTrustedUrl('successUrl', successUrl);
    const plan = this.plans.require(tier);
    const { provider, productId } = this.selectProduct(plan, choice);
    if (await this.owners.hasChargedSubscription(owner.id)) throw new AlreadySubscribed();
    const [{ seats }, customers, email] = await Promise.all([
      this.entitlements.getEffective(owner),
      this.customers.listByOwner(owner),
      this.customers.findEmail(userId),
    ]);
    const session = await this.callProvider(provider, () =>
      provider.createCheckout({
        owner,
        productId,
        seats: plan.limits.perSeat ? Math.max(1, seats.used) : undefined,
        providerCustomerId: customers.find((customer) => customer.provider === provider.name)?.providerCustomerId,
        // Only fills in the form. A provider would refuse an address from Clerk that breaks our rule.
        email: email !== undefined && isEmail(email) ? email : undefined,
        successUrl: url,
        // Hashed with the caller, so that no other caller can choose the same key.
        idempotencyKey: identity === undefined ? newId() : createHash('sha256').update(JSON.stringify(identity)).digest('hex'),
      }),
    );
    await this.db.transaction(async (tx) => {
      const { providerCustomerId } = session;
      if (providerCustomerId !== undefined)
        await this.owners.linkCustomer({ provider: provider.name, providerCustomerId }, owner, actor, tx);
      await this.record('subscription.checkout_opened', owner, actor, { provider: provider.name, productId }, tx);
    });
    return { ...session, provider: provider.name };
  }

  /**
   * Opens the portal where the owner's customer manages payments. Of several customers, the one with the effective subscription counts.
   * @throws {InvalidRequest} @throws {NoBillingCustomer} @throws {BillingProviderAway} @throws {BillingProviderRefused}
   */
  async openPortal(owner: Owner, { returnUrl }: { returnUrl?: string }, actor: Actor): Promise<{ url: string }> {
    const url = this.requireTrustedUrl('returnUrl', returnUrl);
    const [{ chosen }, customers] = await Promise.all([this.entitlements.getEffective(owner), this.customers.listByOwner(owner)]);
    const customer = customers.find(({ providerCustomerId }) => providerCustomerId === chosen?.row.providerCustomerId) ?? customers[0];
    if (customer === undefined) throw new NoBillingCustomer();
    const provider = this.providers.get(customer.provider);
    if (provider?.isConfigured !== true)
      throw new CheckoutUnavailable({ detail: `The billing provider ${customer.provider} is not set up.` });
    const portal = await this.callProvider(provider, () => provider.createPortal(customer.providerCustomerId, url));
    await this.record('subscription.portal_opened', owner, actor, { provider: provider.name }, this.db);
    return portal;
  }

  private async record(action: string, { kind, id }: Owner, actor: Actor, after: object, db: Queryable): Promise<void> {
    const organizationId = kind === 'organization' ? id : undefined;
    await this.audit.record({ actor, action, organizationId, target: { type: kind, id }, after }, db);
  }

  private selectProduct(
    plan: Plan,
    { provider: providerName, productId }: Pick<CheckoutChoice, 'provider' | 'productId'>,
  ): { provider: BillingProvider; productId: string } {
    for (const provider of this.providers.configured()) {
      if (providerName !== undefined && providerName !== provider.name) continue;
      const product = plan.products[provider.name].find((id) => productId === undefined || id === productId);
      if (product !== undefined) return { provider, productId: product };
    }
    if (productId === undefined) throw new CheckoutUnavailable();
    throw new InvalidRequest({ errors: [{ field: 'productId', message: `productId must be a product of the plan ${plan.tier}` }] });
  }

  private requireTrustedUrl(field: string, given: string | undefined): string {
    if (given === undefined) return this.config.publicUrl;
    const url = URL.parse(given);
    if (url !== null && isTrustedUrl(this.config.trustedOrigins, url)) return url.href;
    throw new InvalidRequest({ errors: [{ field, message: `${field} must be a URL of one of the trusted origins` }] });
  }

  private async callProvider<T>({ name }: BillingProvider, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof BillingProviderFailed)) throw error;
      this.logger.error({ err: error, provider: name }, 'A billing provider could not open a checkout or portal');
      if (!error.isRetryable) throw new BillingProviderRefused();
      throw new BillingProviderAway({ headers: { 'retry-after': String(Math.max(FIRST_RETRY_SECONDS, error.retryAfterSeconds)) } });
    }
  }
}

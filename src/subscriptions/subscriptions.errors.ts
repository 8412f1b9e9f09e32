import { problem } from '../platform/problems/problem.js';

export class SubscriptionNotFound extends problem(404, 'subscription_not_found', 'There is no such subscription.') {}
export class OwnerNotFound extends problem(404, 'owner_not_found', 'There is no such user or organization.') {}
export class PlanRequired extends problem(402, 'plan_required', 'Your plan does not include this.') {}
export class SubscriptionActive extends problem(
  409,
  'subscription_active',
  'There is a paid subscription. Cancel it first, or pass `cancelSubscription=true`.',
) {}
export class AlreadySubscribed extends problem(
  409,
  'already_subscribed',
  'There is a subscription already. Change it in the portal instead of buying another one.',
) {}
export class NotAGrant extends problem(409, 'not_a_grant', 'A billing provider manages this subscription. End it there.') {}
export class CheckoutUnavailable extends problem(
  409,
  'checkout_unavailable',
  'This plan cannot be bought here: no configured billing provider sells it.',
) {}
export class NoBillingCustomer extends problem(409, 'no_billing_customer', 'There is no customer at a billing provider to manage.') {}
export class BillingProviderRefused extends problem(409, 'billing_provider_refused', 'The billing provider refused the request.') {}
export class BillingProviderAway extends problem(
  503,
  'billing_provider_away',
  'The billing provider does not answer. Try again shortly; nothing was bought.',
) {}

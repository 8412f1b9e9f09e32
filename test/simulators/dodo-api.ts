import type DodoPayments from 'dodopayments';
import type { DodoSubscription } from '../support/billing/dodo-events.js';
import type { DodoAccount } from './dodo-account.js';
import { dodoIngest } from './dodo-ingest.js';
import { type Answer, answerOf, type Call, startSimulatedApi } from './simulated-api.js';
import { microsAt } from './virtual-time.js';

/** https://docs.dodopayments.com/api-reference/error-codes */
const refusal = (status: number, code: string, message: string, headers?: Record<string, string>): Answer => ({
  status,
  body: { code, message },
  headers,
});

const notFound = () => refusal(404, 'NOT_FOUND', 'Item not found');

/**
 * The used part of the DodoPayments API on an account, by the types of its SDK (dodopayments 2.52.0); changes cause the account's events.
 * The SDK sends no idempotency keys.
 */
export async function startDodoApiSimulator({ account, apiKey = 'dodo_simulated' }: { account: DodoAccount; apiKey?: string }) {
  const ingest = dodoIngest(account, refusal);

  const subscriptions = (call: Call): Answer => {
    const { method, query, body } = call;
    const [, id, part] = call.path;
    if (id === undefined) return page([...account.subscriptions.values()].filter(isWanted(query)).map(listed(account)), query);
    const found = account.subscriptions.get(id);
    if (found === undefined) return notFound();
    if (part === 'change-plan' && method === 'POST') return changePlan(account, found, body as DodoPayments.SubscriptionChangePlanParams);
    if (part === 'change-plan') {
      account.cancelPlannedChange(id);
      return { status: 204, body: undefined };
    }
    const refused = method === 'PATCH' ? update(account, found, body as DodoPayments.SubscriptionUpdateParams) : undefined;
    return refused ?? answerOf(shown(account.subscription(id)));
  };

  const customers = ({ method, path: [, id, part], query, body }: Call): Answer => {
    if (id === undefined && method === 'POST') {
      const { email, name, metadata } = body as DodoPayments.CustomerCreateParams;
      return answerOf(account.createCustomer({ email, name, ...(metadata !== undefined && { metadata }) }));
    }
    if (id === undefined) {
      const email = query.get('email');
      return page(
        [...account.customers.values()].filter((one) => email === null || one.email === email),
        query,
      );
    }
    if (!account.customers.has(id)) return notFound();
    if (part === 'customer-portal') {
      return answerOf({ link: `https://test.customer.dodopayments.com/simulated/${id}?return_url=${query.get('return_url') ?? ''}` });
    }
    if (method === 'PATCH') account.updateCustomer(id, given(body as DodoPayments.CustomerUpdateParams));
    return answerOf(account.customer(id));
  };

  const checkouts = ({ method, path: [, id], body }: Call): Answer => {
    if (method === 'POST') return createCheckout(account, body as DodoPayments.CheckoutSessionCreateParams);
    const found = account.checkouts.get(id ?? '');
    if (found === undefined) return notFound();
    const payment = found.payment_id === null ? undefined : account.payment(found.payment_id);
    return answerOf({
      id: found.session_id,
      created_at: found.created_at,
      customer_email: found.email,
      customer_name: found.name,
      payment_id: found.payment_id,
      payment_status: payment?.status ?? null,
    });
  };

  /** Payments and refunds. */
  const paymentsOrRefunds = (
    map: ReadonlyMap<string, DodoPayments.Payment | DodoPayments.Refund>,
    { path: [, id], query }: Call,
  ): Answer => {
    if (id === undefined) return page([...map.values()].filter(isWanted(query)), query);
    const found = map.get(id);
    return found === undefined ? notFound() : answerOf(found);
  };

  const answer = (call: Call): Answer => {
    account.tick();
    const [noun, what] = call.path;
    if (noun === 'subscriptions') return subscriptions(call);
    if (noun === 'customers') return customers(call);
    if (noun === 'checkouts') return checkouts(call);
    if (noun === 'payments') return paymentsOrRefunds(account.payments, call);
    if (noun === 'refunds') return paymentsOrRefunds(account.refunds, call);
    if (noun === 'events' && what === 'ingest') return ingest.ingest(call.body);
    return notFound();
  };

  const api = await startSimulatedApi({
    token: apiKey,
    answer,
    now: () => account.now(),
    unauthorized: () => refusal(401, 'UNAUTHORIZED', 'Unauthorized'),
    tooMany: (seconds) => refusal(429, 'TOO_MANY_REQUESTS', 'Too many requests', { 'retry-after': String(seconds) }),
    failure: (status) => refusal(status, 'SIMULATED_FAILURE', 'Simulated failure'),
  });
  return { ...api, account, apiKey, /** Ingested events by id. */ usage: ingest.events };
}

export type DodoApiSimulator = Awaited<ReturnType<typeof startDodoApiSimulator>>;

/** The API omits the end of the grace period, which only webhooks contain. */
function shown({ past_due_ends_at: _graceEnds, ...subscription }: DodoSubscription): DodoPayments.Subscription {
  return subscription;
}

const listed = (account: DodoAccount) => (subscription: DodoSubscription) => {
  const { addons: _addons, meters: _meters, credit_entitlement_cart: _credits, expires_at: _expires, ...rest } = shown(subscription);
  return { ...rest, discounts: rest.discounts ?? [], product_name: account.product(rest.product_id).name };
};

/** Changes to `paused` and `active` come alone; a null field is not changed. */
function update(account: DodoAccount, found: DodoSubscription, params: DodoPayments.SubscriptionUpdateParams): Answer | undefined {
  const { subscription_id: id, status } = found;
  const changes = given(params);
  const isOver = ['cancelled', 'failed', 'expired'].includes(status);
  if ('pause' in changes) return refusal(422, 'INVALID_REQUEST_BODY', 'pause was removed, use status');
  if (isOver && (changes.status !== undefined || changes.cancel_at_next_billing_date !== undefined)) {
    return refusal(422, 'SUBSCRIPTION_INACTIVE', 'Subscription is not active');
  }
  if (changes.status === 'paused' || changes.status === 'active') {
    if (Object.keys(changes).length > 1) return refusal(422, 'INVALID_REQUEST_BODY', `${changes.status} must be sent alone`);
    if (changes.status === 'paused') account.pause(id);
    else account.resume(id);
    return undefined;
  }
  if (changes.metadata !== undefined) account.updateMetadata(id, changes.metadata);
  if (changes.status === 'cancelled') account.cancel(id, { when: 'now' });
  else if (changes.cancel_at_next_billing_date === true) account.cancel(id);
  else if (changes.cancel_at_next_billing_date === false) account.uncancel(id);
  return undefined;
}

function changePlan(account: DodoAccount, found: DodoSubscription, requested: DodoPayments.SubscriptionChangePlanParams): Answer {
  if (found.status !== 'active') {
    return refusal(422, 'INACTIVE_SUBSCRIPTION_PLAN_CHANGE_NOT_SUPPORTED', 'Changing plans is not supported for inactive subscriptions');
  }
  if (!account.products.has(requested.product_id)) return notFound();
  const before = account.payments.size;
  account.changePlan(found.subscription_id, {
    productId: requested.product_id,
    quantity: requested.quantity,
    when: requested.effective_at === 'next_billing_date' ? 'period end' : 'now',
  });
  const paid = account.payments.size > before ? [...account.payments.keys()].at(-1) : null;
  return answerOf({ payment_id: paid, payment_link: null, client_secret: null, expires_on: null });
}

function createCheckout(account: DodoAccount, requested: DodoPayments.CheckoutSessionCreateParams): Answer {
  const [item] = requested.product_cart;
  if (item === undefined || !account.products.has(item.product_id)) return notFound();
  const { customer_id: customerId, ...named } = given(
    (requested.customer ?? {}) as DodoPayments.AttachExistingCustomer & DodoPayments.NewCustomer,
  );
  if (customerId !== undefined && !account.customers.has(customerId)) return notFound();
  const checkout = account.openCheckout({
    productId: item.product_id,
    quantity: item.quantity,
    customerId,
    ...named,
    metadata: requested.metadata ?? {},
    returnUrl: requested.return_url ?? undefined,
  });
  const url = `https://test.checkout.dodopayments.com/session/${checkout.session_id}`;
  return answerOf({ session_id: checkout.session_id, checkout_url: url, client_secret: null, payment_id: null, publishable_key: null });
}

/** Without null fields. */
function given<T extends object>(fields: T): { [Field in keyof T]?: NonNullable<T[Field]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null)) as { [Field in keyof T]?: NonNullable<T[Field]> };
}

interface Filtered {
  created_at: string;
  status?: string | null;
  customer: { customer_id: string };
  product_id?: string;
  subscription_id?: string | null;
}

function isWanted(query: URLSearchParams) {
  const isOneOf = (name: string, value: string | null | undefined) => !query.has(name) || query.get(name) === value;
  const [from, until] = [query.get('created_at_gte'), query.get('created_at_lte')];
  return (one: Filtered) =>
    isOneOf('status', one.status) &&
    isOneOf('customer_id', one.customer.customer_id) &&
    isOneOf('product_id', one.product_id) &&
    isOneOf('subscription_id', one.subscription_id) &&
    (from === null || microsAt(one.created_at) >= microsAt(from)) &&
    (until === null || microsAt(one.created_at) <= microsAt(until));
}

/** Pages count from 0, newest first; an empty page marks the end of the list. */
function page(all: { created_at: string }[], query: URLSearchParams): Answer {
  const [number, size] = [Number(query.get('page_number') ?? 0), Number(query.get('page_size') ?? 10)];
  if (!(number >= 0) || !(size >= 1 && size <= 100)) return refusal(422, 'INVALID_QUERY_PARAMS', 'Invalid page');
  const newestFirst = all.toSorted((a, b) => microsAt(b.created_at) - microsAt(a.created_at));
  return answerOf({ items: newestFirst.slice(size * number, size * (number + 1)) });
}

import type { models } from '@polar-sh/sdk/2026-10';
import type { CheckoutGiven, PolarAccount } from './polar-account.js';
import { polarIngest } from './polar-ingest.js';
import { invalid, isUuid, notFound, refusal } from './polar-refusals.js';
import { type Answer, answerOf, type Call, startSimulatedApi } from './simulated-api.js';
import { microsAt } from './virtual-time.js';

type Sortable = Record<string, string | number | null | undefined>;

/**
 * The used part of Polar's API on an account (polarsource/polar, docs/openapi/2026-10.openapi.json); changes cause the account's events.
 * Neither Polar nor its SDK has idempotency keys.
 */
export async function startPolarApiSimulator({
  account,
  accessToken = 'polar_oat_simulated',
}: {
  account: PolarAccount;
  accessToken?: string;
}) {
  const ingest = polarIngest(account);

  const subscription = (id: string, act?: (found: models.Subscription) => Answer | void): Answer => {
    if (!isUuid(id)) return invalid(['path', 'id'], 'Input should be a valid UUID', id);
    if (!account.hasSubscription(id)) return notFound();
    return act?.(account.subscription(id)) ?? answerOf(account.subscription(id));
  };

  const subscriptions = ({ method, path: [, , id], query, body }: Call): Answer => {
    if (id === undefined && method === 'GET') return listSubscriptions(account.listSubscriptions(), query);
    if (id === undefined) return notFound();
    if (method === 'GET') return subscription(id);
    if (method === 'PATCH') return subscription(id, (found) => update(account, found, body as Changes));
    if (method === 'DELETE') return subscription(id, (found) => update(account, found, { revoke: true }));
    return notFound();
  };

  const liveCustomers = () => [...account.customers.values()].filter((one) => one.deleted_at === null);

  const customer = (found: models.CustomerIndividual | undefined, { method, path, body }: Call): Answer => {
    if (found === undefined) return notFound();
    if (method === 'GET') return answerOf(path.at(-1) === 'state' ? account.customerState(found.id) : found);
    if (method === 'DELETE') account.deleteCustomer(found.id);
    if (method === 'DELETE') return { status: 204, body: undefined };
    account.updateCustomer(found.id, body as Partial<models.CustomerIndividual>);
    return answerOf(account.customer(found.id));
  };

  const customers = (call: Call): Answer => {
    const [, , id, externalId] = call.path;
    if (id === 'external')
      return customer(
        liveCustomers().find((one) => one.external_id === externalId),
        call,
      );
    if (id !== undefined && !isUuid(id)) return invalid(['path', 'id'], 'Input should be a valid UUID', id);
    if (id !== undefined)
      return customer(
        liveCustomers().find((one) => one.id === id),
        call,
      );
    if (call.method === 'POST') return createCustomer(account, liveCustomers(), call.body as models.CustomerIndividualCreate);
    const email = call.query.get('email');
    return page(
      liveCustomers().filter((one) => email === null || one.email === email),
      call.query,
      ['created_at', 'email', 'name'],
    );
  };

  const checkouts = ({ method, path: [, , id], body }: Call): Answer => {
    if (method === 'POST') return createCheckout(account, body as models.CheckoutCreate);
    const found = account.checkouts.get(id ?? '');
    return found === undefined ? notFound() : answerOf(found);
  };

  const orders = ({ path: [, , id], query }: Call): Answer => {
    const all = account.listOrders();
    if (id === undefined) return page(all.filter(isAmong(query)), query, ['created_at', 'status', 'invoice_number', 'net_amount']);
    const found = all.find((one) => one.id === id);
    return found === undefined ? notFound() : answerOf(found);
  };

  const openPortal = ({ body }: Call): Answer => {
    const { customer_id: id, external_customer_id: externalId, return_url: returnUrl = null } = body as Record<string, string | undefined>;
    const owner = liveCustomers().find((one) => (externalId === undefined ? one.id === id : one.external_id === externalId));
    if (owner === undefined) {
      return invalid(
        ['body', externalId === undefined ? 'customer_id' : 'external_customer_id'],
        'Customer does not exist.',
        externalId ?? id,
      );
    }
    return answerOf(customerSession(owner, account.now(), returnUrl), 201);
  };

  const answer = (call: Call): Answer => {
    account.tick();
    const [version, noun, what] = call.path;
    if (version !== 'v1') return notFound();
    if (noun === 'subscriptions') return subscriptions(call);
    if (noun === 'customers') return customers(call);
    if (noun === 'checkouts') return checkouts(call);
    if (noun === 'orders') return orders(call);
    if (noun === 'customer-sessions') return openPortal(call);
    if (noun === 'events' && what === 'ingest') return ingest.ingest(call.body);
    return notFound();
  };

  const api = await startSimulatedApi({
    token: accessToken,
    answer,
    now: () => account.now(),
    unauthorized: () => ({
      status: 401,
      body: {
        error: 'invalid_token',
        error_description: 'The access token provided is expired, revoked, malformed, or invalid for other reasons.',
      },
    }),
    tooMany: (seconds) => refusal(429, 'TooManyRequests', 'Too many requests', { 'retry-after': String(seconds) }),
    failure: (status) => refusal(status, 'SimulatedFailure', 'Simulated failure'),
  });
  return { ...api, account, accessToken, /** Ingested events. */ usage: ingest.events };
}

export type PolarApiSimulator = Awaited<ReturnType<typeof startPolarApiSimulator>>;

type Changes = Partial<
  models.SubscriptionUpdateBase & models.SubscriptionUpdateSeats & models.SubscriptionCancel & models.SubscriptionRevoke
> &
  Partial<models.SubscriptionPause & models.SubscriptionResume>;

/** One kind of change at a time, as in the published schemas. */
function update(account: PolarAccount, found: models.Subscription, changes: Changes): Answer | void {
  const { id, status } = found;
  const isBillable = ['active', 'trialing', 'past_due'].includes(status);
  const alreadyCanceled = refusal(
    403,
    'AlreadyCanceledSubscription',
    'This subscription is already canceled or will be at the end of the period.',
  );
  const when = changes.proration_behavior === 'next_period' ? ('period end' as const) : ('now' as const);
  if (changes.revoke === true) {
    if (!isBillable && status !== 'paused') return alreadyCanceled;
    account.cancel(id, { when: 'now', reason: changes.customer_cancellation_reason });
  } else if (changes.cancel_at_period_end === true) {
    if (!isBillable || found.cancel_at_period_end) return alreadyCanceled;
    account.cancel(id, { reason: changes.customer_cancellation_reason });
  } else if (changes.cancel_at_period_end === false) {
    if (found.ended_at !== null) return refusal(410, 'ResourceUnavailable', 'Unavailable');
    if (!found.cancel_at_period_end) return refusal(400, 'BadRequest', 'Bad request');
    account.uncancel(id);
  } else if (changes.seats !== undefined) {
    if (found.seats == null) return refusal(400, 'NotASeatBasedSubscription', 'This subscription does not support seat-based pricing.');
    if (!isBillable) return alreadyCanceled;
    account.changeSeats(id, changes.seats, { when });
  } else if (changes.product_id != null) {
    if (!account.products.has(changes.product_id)) return invalid(['body', 'product_id'], 'Product does not exist.', changes.product_id);
    if (!isBillable || found.cancel_at_period_end) return alreadyCanceled;
    account.changeProduct(id, changes.product_id, { when });
  } else if (changes.pause_at_period_end === true) {
    account.pause(id, changes.resumes_at == null ? {} : { resumesAt: new Date(changes.resumes_at) });
  } else if (changes.pause_at_period_end === false) account.cancelPause(id);
  else if (changes.resume === true) account.resume(id);
  else if (changes.metadata !== undefined) account.updateMetadata(id, changes.metadata);
}

function createCustomer(account: PolarAccount, liveCustomers: models.CustomerIndividual[], given: models.CustomerIndividualCreate): Answer {
  const { email, external_id: externalId = null, name, metadata = {} } = given;
  if (liveCustomers.some((one) => one.email === email)) {
    return invalid(['body', 'email'], 'A customer with this email address already exists.', email);
  }
  if (externalId !== null && liveCustomers.some((one) => one.external_id === externalId)) {
    return invalid(['body', 'external_id'], 'A customer with this external ID already exists.', externalId);
  }
  return answerOf(account.createCustomer({ email, externalId, metadata, ...(name != null && { name }) }), 201);
}

function createCheckout(account: PolarAccount, given: models.CheckoutCreate): Answer {
  const [productId] = given.products;
  if (productId === undefined || !account.products.has(productId)) {
    return invalid(['body', 'products', 0], 'Product does not exist.', productId);
  }
  const wanted: CheckoutGiven = {
    productId,
    customerId: given.customer_id ?? undefined,
    externalCustomerId: given.external_customer_id ?? undefined,
    email: given.customer_email ?? undefined,
    metadata: given.metadata,
    seats: given.seats,
    successUrl: given.success_url ?? undefined,
  };
  return answerOf(account.openCheckout(wanted), 201);
}

function listSubscriptions(all: models.Subscription[], query: URLSearchParams): Answer {
  const active = query.get('active');
  const isWanted = ({ status }: models.Subscription) => active === null || ['active', 'trialing'].includes(status) === (active === 'true');
  const cancels = query.get('cancel_at_period_end');
  const isCanceling = (one: models.Subscription) => cancels === null || one.cancel_at_period_end === (cancels === 'true');
  const sortable = ['status', 'started_at', 'current_period_end', 'ended_at', 'ends_at', 'amount'];
  return page(all.filter(isAmong(query)).filter(isWanted).filter(isCanceling), query, sortable, '-started_at');
}

/** Each of these filters may be repeated. */
function isAmong(query: URLSearchParams) {
  const among = (name: string, value: string | null | undefined) => !query.has(name) || query.getAll(name).includes(value ?? '');
  return (one: models.Subscription | models.Order) =>
    among('customer_id', one.customer_id) &&
    among('external_customer_id', one.customer.external_id) &&
    among('product_id', one.product_id) &&
    among('status', one.status) &&
    among('subscription_id', 'subscription_id' in one ? one.subscription_id : undefined);
}

/** At most 100 objects in a page; a page after the last one is empty. */
function page(all: object[], query: URLSearchParams, sortable: string[], usual = '-created_at'): Answer {
  const [number, limit] = [Number(query.get('page') ?? 1), Math.min(Number(query.get('limit') ?? 10), 100)];
  if (!(number > 0)) return invalid(['query', 'page'], 'Input should be greater than 0', query.get('page'));
  if (!(limit > 0)) return invalid(['query', 'limit'], 'Input should be greater than 0', query.get('limit'));
  const criteria = query.has('sorting') ? query.getAll('sorting') : [usual];
  const unknown = criteria.find((one) => !sortable.includes(one.replace(/^-/, '')));
  if (unknown !== undefined) return invalid(['query', 'sorting'], 'Invalid sorting criterion.', unknown);
  const items = all.toSorted(bySorting(criteria)).slice(limit * (number - 1), limit * number);
  return answerOf({ items, pagination: { total_count: all.length, max_page: Math.ceil(all.length / limit) } });
}

function bySorting(criteria: string[]) {
  return (a: object, b: object): number => {
    for (const criterion of criteria) {
      const field = criterion.replace(/^-/, '');
      const order = compare((a as Sortable)[field], (b as Sortable)[field]);
      if (order !== 0) return criterion.startsWith('-') ? -order : order;
    }
    return 0;
  };
}

/** Compares times by value, because a fraction may be missing. Null comes last. */
function compare(a: string | number | null | undefined, b: string | number | null | undefined): number {
  if (a == null || b == null) return Number(a == null) - Number(b == null);
  const [left, right] = [a, b].map((one) => (typeof one === 'string' && /^\d{4}-/.test(one) ? microsAt(one) : one)) as [string, string];
  return left < right ? -1 : left > right ? 1 : 0;
}

function customerSession(owner: models.CustomerIndividual, now: Date, returnUrl: string | null): models.CustomerSession {
  const token = `polar_cst_${owner.id.replaceAll('-', '')}`;
  return {
    id: owner.id,
    created_at: now.toISOString(),
    modified_at: null,
    token,
    expires_at: new Date(now.getTime() + 3_600_000).toISOString(),
    return_url: returnUrl,
    customer_portal_url: `https://sandbox.polar.sh/simulated/portal?customer_session_token=${token}`,
    customer_id: owner.id,
    customer: owner,
  };
}

import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { jest } from '@jest/globals';
import pg from 'pg';
import { startTestApp, type TestApp } from '../../support/app.js';
import { signUp, signUpOperator, type SignedInPerson } from '../../support/people.js';
import { createOrganization, verifyEmail } from '../../support/tenants.js';
import { createTenant, type Tenant } from '../../support/tenant-world.js';
import { createPartitions } from '../../support/usage/usage-rows.js';
import { DATABASE, type Database } from '../../../src/platform/database/database.js';
import { MeterExportsRepository } from '../../../src/usage/exports/meter-exports.repository.js';
import { ComparedSubscriptionsRepository } from '../../../src/subscriptions/reconciliation/compared-subscriptions.repository.js';
import { BillingCustomersRepository } from '../../../src/subscriptions/customers/billing-customers.repository.js';
import { ChargedSubscriptionsRepository } from '../../../src/subscriptions/customers/charged-subscriptions.repository.js';
import { EntitlementsRepository } from '../../../src/subscriptions/entitlements/entitlements.repository.js';
import { SyncedOrganizationsRepository } from '../../../src/organizations/synced-organizations.repository.js';
import { SyncedUsersRepository } from '../../../src/users/synced-users.repository.js';
import { WebhooksRepository } from '../../../src/webhooks/webhooks.repository.js';

interface Plan {
  'Node Type': string;
  'Total Cost': number;
  'Relation Name'?: string;
  Plans?: Plan[];
}

/** Enough rows for realistic plans; 300,000 rows give the same plans, but take a minute to insert. */
const USERS = 40_000;

describe('the query plans on large tables', () => {
  let t: TestApp;
  let operator: SignedInPerson;
  let person: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp();
    const server = t.app.getHttpServer();
    server.prependListener('request', ({ headers }: IncomingMessage) => work.enterWith(String(headers['x-request-id'])));
    operator = await signUpOperator(t);
    person = await signUp(t);
    await verifyEmail(t, person);
    await t.db.rows(
      `INSERT INTO users (id, email, name, clerk_user_id, created_at)
       SELECT gen_random_uuid(), 'user' || n || '@example.net', 'First' || n % 1000 || ' Last' || n, 'user_' || n, now() - n * interval '1 second'
         FROM generate_series(1, ${USERS}) n`,
    );
    await t.db.rows(
      `INSERT INTO sessions (id, user_id, token, expires_at, created_at)
       SELECT gen_random_uuid(), id, 'of-' || id, now() + interval '1 day', created_at FROM users WHERE name LIKE 'First%'`,
    );
    await t.db.rows(
      `INSERT INTO sessions (id, user_id, token, expires_at, created_at)
       SELECT gen_random_uuid(), $1, 'own-' || n, now() + interval '1 day', now() - n * interval '1 second' FROM generate_series(1, 2000) n`,
      [person.id],
    );
    await t.db.rows('ANALYZE');
  }, 180_000);
  afterAll(() => t.close());

  /** The name of the work that a statement belongs to; its requests use it as their request id. */
  const work = new AsyncLocalStorage<string>();

  /** Explains the statements on a table that this work sends, with their values. */
  async function plansOf(table: string, run: (name: string) => Promise<unknown>): Promise<{ text: string; nodes: Plan[] }[]> {
    const name = randomUUID();
    const sent: { text: string; values: unknown[] }[] = [];
    const query = pg.Client.prototype.query as unknown as (...all: unknown[]) => unknown;
    const spy = jest.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...all: unknown[]): unknown {
      const [statement, values] = all as [{ text: string; values?: unknown[] }, unknown[] | undefined];
      // Workers and jobs send their own statements meanwhile.
      if (typeof statement === 'object' && work.getStore() === name)
        sent.push({ text: statement.text, values: values ?? statement.values ?? [] });
      return query.apply(this, all);
    });
    try {
      await work.run(name, async () => run(name));
    } finally {
      spy.mockRestore();
    }
    const about = sent.filter(({ text }) => new RegExp(`(?:from|update) "${table}"`, 'i').test(text));
    return Promise.all(
      about.map(async ({ text, values }) => {
        const [{ 'QUERY PLAN': plan }] = (await t.db.rows(`EXPLAIN (FORMAT JSON) ${text}`, values)) as [{ 'QUERY PLAN': [{ Plan: Plan }] }];
        return { text, nodes: flatten(plan[0].Plan) };
      }),
    );
  }
  const flatten = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(flatten)];

  async function expectIndexed(path: string, as: Pick<SignedInPerson, 'auth'>, table: string): Promise<void> {
    const plans = await plansOf(table, async (name) => t.http.get(path).set(as.auth).set('x-request-id', name).expect(200));
    expectByIndex(plans.filter(({ text }) => text.includes('order by')));
  }

  function expectByIndex(plans: { text: string; nodes: Plan[] }[]): void {
    // A search reads the next rows, and then those that an index found.
    expect([1, 2]).toContain(plans.length);
    for (const { text, nodes } of plans) {
      expect(text).not.toMatch(/\boffset\b/i);
      // The watermark of retention is a table of one row.
      const large = nodes.filter((node) => node['Relation Name'] !== 'usage_seals');
      expect(large.map((node) => node['Node Type'])).not.toContain('Seq Scan');
      const append = /\bunion\b/i.test(text) ? nodes.find((node) => node['Node Type'] === 'Append') : undefined;
      // A full index scan is as expensive as a sequential scan.
      for (const part of append?.Plans ?? [nodes[0]!]) expect(part['Total Cost']).toBeLessThan(2000);
    }
  }

  it.each([
    'limit=25',
    'limit=100&createdBefore=2100-01-01',
    'createdFrom=2020-01-01',
    'email=user77@example.net',
    'clerkUserId=user_77',
    'search=last2999',
    'search=first77%20last77',
    'search=user77@example.net',
    'search=nobody-is-called-so',
  ])('read users ?%s with an index', async (query) => {
    await expectIndexed(`/v1/users?${query}`, operator, 'users');
  });

  it('read a later page of users with an index', async () => {
    const { body } = await t.http.get('/v1/users?limit=100').set(operator.auth).expect(200);
    await expectIndexed(`/v1/users?limit=100&cursor=${body.nextCursor}`, operator, 'users');
  });

  it('read the first and later pages of sessions with an index', async () => {
    await expectIndexed('/v1/sessions?limit=50', person, 'sessions');
    const { body } = await t.http.get('/v1/sessions?limit=50').set(person.auth).expect(200);
    await expectIndexed(`/v1/sessions?limit=50&cursor=${body.nextCursor}`, person, 'sessions');
    await expectIndexed(`/v1/users/${person.id}/sessions`, operator, 'sessions');
  });

  it.each(['limit=25', 'action=membership.role_changed', 'action=no.such', 'actorId=00000000-0000-7000-8000-000000000077'])(
    'read the audit log ?%s of one of many organizations with an index',
    async (query) => {
      const { id, path } = await createOrganization(t, person);
      await t.db.rows(
        `INSERT INTO audit_log (id, organization_id, actor_kind, actor_id, action, target_type, target_id)
         SELECT gen_random_uuid(), CASE WHEN n % 2 = 0 THEN $1 ELSE gen_random_uuid() END, 'user',
                ('00000000-0000-7000-8000-' || lpad((n % 500)::text, 12, '0'))::uuid,
                CASE WHEN n % 9999 = 0 THEN 'membership.role_changed' ELSE 'membership.created' END, 'membership', n::text
           FROM generate_series(1, ${USERS}) n`,
        [id],
      );
      await t.db.rows('ANALYZE audit_log');
      await expectIndexed(`${path}/audit-log?${query}`, person, 'audit_log');
    },
  );

  describe('of a large inbox', () => {
    let inbox: WebhooksRepository;
    beforeAll(async () => {
      inbox = t.app.get(WebhooksRepository);
      // Nearly all events are processed, and none is due until a test changes it.
      await t.db.rows(
        `INSERT INTO webhook_events (id, provider, message_id, type, body, status, received_at, next_attempt_at)
         SELECT gen_random_uuid(), 'clerk', 'msg_' || n, CASE WHEN n % 1000 = 0 THEN 'user.deleted' ELSE 'user.updated' END, 'x',
                (CASE n % 1000 WHEN 1 THEN 'dead' WHEN 2 THEN 'quarantined' WHEN 3 THEN 'pending' WHEN 4 THEN 'ignored' ELSE 'processed' END)::webhook_event_status,
                now() - n * interval '1 second', now() + interval '1 day'
           FROM generate_series(1, ${USERS}) n`,
      );
      await t.db.rows(
        `INSERT INTO organizations (id, name, slug, clerk_slug, clerk_organization_id)
         SELECT gen_random_uuid(), '', 'slug-' || n, 'slug-' || n, 'org_' || n FROM generate_series(1, ${USERS}) n`,
      );
      await t.db.rows('ANALYZE');
    }, 180_000);

    it.each([
      'limit=25',
      'status=dead',
      'status=quarantined',
      'status=ignored',
      'status=processed',
      'type=user.updated',
      'type=user.deleted',
      'type=no.such.type',
      'type=user.updated&status=dead',
      'provider=clerk&type=user.deleted',
      'provider=polar&type=user.updated',
      'receivedFrom=2020-01-01&receivedBefore=2100-01-01',
    ])('read the list ?%s with an index', async (query) => {
      await expectIndexed(`/v1/webhook-events?${query}`, operator, 'webhook_events');
    });

    it.each<[string, string, (inbox: WebhooksRepository) => Promise<unknown>]>([
      ['lease due events', 'webhook_events', () => inbox.claim(8, 1)],
      ['count waiting and dead events', 'webhook_events', () => inbox.backlog()],
      ['delete bodies', 'webhook_events', () => inbox.deleteBodies(new Date(0), 1000)],
      ['find the claimants of an address', 'users', () => t.app.get(SyncedUsersRepository).listClaimants('user77@example.net')],
      ['find the claimants of a slug', 'organizations', () => t.app.get(SyncedOrganizationsRepository).listClaimants('slug-77')],
    ])('%s with an index', async (_what, table, run) => {
      expectByIndex(await plansOf(table, async () => run(inbox)));
    });

    it('lease due events with an index, also when all events wait', async () => {
      await t.db.rows(`UPDATE webhook_events SET status = 'pending', next_attempt_at = now() + interval '1 day'; ANALYZE webhook_events`);
      expectByIndex(await plansOf('webhook_events', async () => inbox.claim(8, 1)));
    });
  });

  describe('of many meter exports', () => {
    const [now, until] = [new Date(), new Date(Date.now() + 60_000)];
    let meters: MeterExportsRepository;
    let db: Database;
    beforeAll(async () => {
      meters = t.app.get(MeterExportsRepository);
      db = t.app.get(DATABASE);
      // Analyzed again in the middle, it would get other plans.
      await t.db.rows('ALTER TABLE meter_exports SET (autovacuum_enabled = off)');
      // Wide rows, so that reading the whole table costs more. Polar is unavailable, so all its exports wait and some are due; both providers have refused some.
      await t.db.rows(
        `INSERT INTO meter_exports (provider, owner_id, event_id, provider_customer_id, occurred_at, "values", tokens_used, next_attempt_at, created_at)
         SELECT (CASE WHEN n % 10 = 1 THEN 'dodo' ELSE 'polar' END)::billing_provider, gen_random_uuid(), 'event-' || n, 'customer-' || n % 100, now(),
                jsonb_build_object('model', repeat('wide', 100)), n, CASE WHEN n % 3 = 1 THEN NULL ELSE now() + (n - 5000) * interval '1 second' END, now() - n * interval '1 second'
           FROM generate_series(1, ${USERS}) n`,
      );
      await t.db.rows('ANALYZE meter_exports');
    }, 180_000);

    it.each(['limit=25', 'provider=dodo', 'provider=polar', 'state=pending', 'state=pending&provider=dodo'])(
      'read the first and later pages of the list ?%s with an index',
      async (query) => {
        await expectIndexed(`/v1/meter-exports?${query}`, operator, 'meter_exports');
        const { body } = await t.http.get(`/v1/meter-exports?${query}`).set(operator.auth).expect(200);
        await expectIndexed(`/v1/meter-exports?${query}&cursor=${body.nextCursor}`, operator, 'meter_exports');
      },
    );

    it.each<[string, () => Promise<unknown>]>([
      ['lease due exports', () => meters.lease('polar', { now, until, limit: 1000 })],
      ['lease due exports when few are due', () => meters.lease('dodo', { now: new Date(0), until, limit: 1000 })],
    ])('%s with an index', async (_what, run) => {
      expectByIndex(await plansOf('meter_exports', run));
    });

    it('record the results of a batch with an index', async () => {
      const batch = await meters.lease('polar', { now, until, limit: 1000 });
      expect(batch).toHaveLength(1000);
      for (const end of [() => meters.postpone(batch, until, 'away'), () => meters.refuse(batch, 'unknown'), () => meters.remove(batch)])
        expectByIndex(await plansOf('meter_exports', end));
      const [, update] = await plansOf('meter_exports', () => meters.requeueRefused('polar', { now, limit: 500 }, db));
      expectByIndex([update!]);
    });
  });

  describe('of many subscriptions', () => {
    const payer = { provider: 'polar', providerCustomerId: 'customer-77' } as const;
    let entitlements: EntitlementsRepository;
    let customers: BillingCustomersRepository;
    let charged: ChargedSubscriptionsRepository;
    let compared: ComparedSubscriptionsRepository;
    let db: Database;
    let ownerId: string;
    beforeAll(async () => {
      compared = t.app.get(ComparedSubscriptionsRepository);
      db = t.app.get(DATABASE);
      entitlements = t.app.get(EntitlementsRepository);
      customers = t.app.get(BillingCustomersRepository);
      charged = t.app.get(ChargedSubscriptionsRepository);
      await t.db.rows(
        `INSERT INTO billing_customers (id, provider, provider_customer_id, owner_kind, owner_id, owner_claims)
         SELECT gen_random_uuid(), 'polar', 'customer-' || substring(clerk_user_id FROM 6), 'user', id, ARRAY['user:' || clerk_user_id]
           FROM users WHERE clerk_user_id IS NOT NULL`,
      );
      // Two of each kind; one in a hundred has no owner, was granted, or is not active.
      await t.db.rows(
        `INSERT INTO subscriptions (id, provider, provider_subscription_id, provider_customer_id, owner_kind, owner_id, owner_claims,
                                    product_id, status, check_at, created_at)
         SELECT gen_random_uuid(), (CASE WHEN n % 200 = 0 THEN 'manual' ELSE 'polar' END)::billing_provider,
                CASE WHEN n % 200 = 0 THEN NULL ELSE 'subscription-' || n || '-' || provider_customer_id END, provider_customer_id,
                CASE WHEN n % 100 = 1 THEN NULL ELSE owner_kind END, CASE WHEN n % 100 = 1 THEN NULL ELSE owner_id END, owner_claims,
                'product-' || n % 7, (CASE n % 100 WHEN 2 THEN 'past_due' WHEN 3 THEN 'canceled' ELSE 'active' END)::subscription_status,
                now() + n * interval '1 second', now() - n * interval '1 second'
           FROM (SELECT row_number() OVER () AS n, * FROM billing_customers, generate_series(1, 2)) c`,
      );
      await t.db.rows(
        `INSERT INTO payments (id, provider, kind, provider_payment_id, provider_customer_id, provider_subscription_id, owner_kind, owner_id,
                               owner_claims, status, occurred_at)
         SELECT gen_random_uuid(), provider, 'payment', 'payment-' || id, provider_customer_id, provider_subscription_id, owner_kind, owner_id,
                owner_claims, 'succeeded', created_at
           FROM subscriptions WHERE provider = 'polar'`,
      );
      await t.db.rows(
        `INSERT INTO subscription_products (subscription_id, product_id) SELECT id, product_id FROM subscriptions WHERE provider = 'polar'`,
      );
      await t.db.rows(
        `INSERT INTO subscription_periods (subscription_id, starts_at, ends_at)
         SELECT id, created_at - n * interval '1 month', created_at - (n - 1) * interval '1 month' FROM subscriptions, generate_series(0, 2) n`,
      );
      // Some users are merged local users.
      await t.db.rows(
        `INSERT INTO user_merges (id, into_user_id, email, account_ids, session_ids, membership_ids)
         SELECT id, CASE WHEN clerk_user_id LIKE 'user_%777' THEN $1 ELSE gen_random_uuid() END, '', '{}', '{}', '{}'
           FROM users WHERE clerk_user_id LIKE 'user_%7'`,
        [person.id],
      );
      await t.db.rows('ANALYZE');
      const [row] = await t.db.rows<{ id: string }>(`SELECT owner_id AS id FROM billing_customers WHERE provider_customer_id = $1`, [
        payer.providerCustomerId,
      ]);
      ownerId = row!.id;
    }, 180_000);

    it.each([
      'limit=25',
      'limit=100',
      'provider=polar',
      'provider=manual',
      'status=active',
      'status=past_due',
      'status=unpaid',
      'owned=true',
      'owned=false',
      'owned=false&status=past_due&provider=polar',
    ])('read the list ?%s with an index', async (query) => {
      await expectIndexed(`/v1/subscriptions?${query}`, operator, 'subscriptions');
    });

    it('read the list of one owner with an index', async () => {
      await expectIndexed(`/v1/subscriptions?ownerId=${ownerId}`, operator, 'subscriptions');
    });

    it('read the first and later pages of payments with an index', async () => {
      await expectIndexed('/v1/subscription/payments?limit=2', person, 'payments');
      const { body } = await t.http.get('/v1/subscription/payments?limit=2').set(person.auth).expect(200);
      await expectIndexed(`/v1/subscription/payments?limit=2&cursor=${body.nextCursor}`, person, 'payments');
    });

    it.each<[string, string, () => Promise<unknown>]>([
      ['read the subscriptions of an owner', 'subscriptions', () => entitlements.listByOwner({ kind: 'user', id: ownerId })],
      ['read the subscriptions and members of an organization', 'organizations', () => entitlements.readOrganization(ownerId)],
      ['read the subscriptions of an owner with their periods', 'subscriptions', () => entitlements.listByOwners([ownerId], new Date())],
      ['read the customers of an owner', 'billing_customers', () => customers.listByOwner({ kind: 'user', id: ownerId })],
      ['read the products of a subscription', 'subscription_products', () => entitlements.listProducts(ownerId)],
      ['find the renewing subscriptions of an owner', 'subscriptions', () => charged.list(ownerId)],
      ['find claimed subscriptions', 'subscriptions', () => customers.listWithClaims(['user:user_77', 'any:user_77'], db)],
      ['find claimed payments', 'payments', () => customers.listWithClaims(['user:user_77', 'any:user_77'], db)],
      ['find claimed customers', 'billing_customers', () => customers.listWithClaims(['user:user_77', 'any:user_77'], db)],
      ['read the subscriptions of a customer', 'subscriptions', () => customers.loadRecords(payer, db)],
      ['read the payments of a customer', 'payments', () => customers.loadRecords(payer, db)],
      ['find claimed users', 'users', () => customers.findOwners(['user:user_77', `any:${ownerId}`], db)],
      ['find claimed organizations', 'organizations', () => customers.findOwners(['any:org_77', `any:${ownerId}`], db)],
      ['lease due renewal checks', 'subscriptions', () => compared.claimDue({ now: new Date(), until: new Date(), limit: 10 })],
      ['keep the subscriptions of a purged user', 'subscriptions', () => customers.pinOwners([ownerId], db)],
    ])('%s with an index', async (_what, table, run) => {
      expectByIndex(await plansOf(table, run));
    });
  });

  describe('of a year of usage', () => {
    let owner: Tenant;
    beforeAll(async () => {
      owner = await createTenant(t.db);
      const months = Array.from({ length: 12 }, (_, month) => `2025-${String(month + 1).padStart(2, '0')}-01`);
      await createPartitions(t.db, months);
      // Other owners have as much usage in total.
      await t.db.rows(
        `INSERT INTO usage (owner_id, owner_kind, event_id, occurred_at, model, actor_user_id, input_tokens, tokens_used, period_start)
         SELECT CASE WHEN n % 2 = 0 THEN $1 ELSE gen_random_uuid() END, 'organization', 'event-' || n, '2025-01-01Z'::timestamptz + n * interval '4 minutes',
                'm' || n % 5, $2::uuid, n, n, '2025-01-01Z'
           FROM generate_series(1, 130000) n`,
        [owner.organization.id, owner.member.id],
      );
      await t.db.rows(
        `INSERT INTO usage_rollups (owner_id, hour, model, actor_user_id, events, input_tokens, tokens_used)
         SELECT owner_id, date_trunc('hour', occurred_at, 'UTC'), model, actor_user_id, count(*), sum(input_tokens), sum(tokens_used)
           FROM usage WHERE occurred_at < '2026-01-01Z' GROUP BY 1, 2, 3, 4`,
      );
      await t.db.rows(
        `INSERT INTO user_merges (id, into_user_id, email, account_ids, session_ids, membership_ids)
         SELECT gen_random_uuid(), gen_random_uuid(), '', '{}', '{}', '{}' FROM generate_series(1, ${USERS})`,
      );
      await t.db.rows('ANALYZE');
    }, 180_000);

    const pathOf = (rest: string) => `/v1/organizations/${owner.organization.id}/usage${rest}`;
    const plansOfSums = async (query: string) =>
      plansOf('usage_model_rollups', async (name) =>
        t.http
          .get(pathOf(`/summary?${query}`))
          .set(owner.admin.auth)
          .set('x-request-id', name)
          .expect(200),
      );
    /** The tables that nodes of a type read. */
    const readBy = (plans: { nodes: Plan[] }[], type: RegExp) =>
      new Set(
        plans.flatMap(({ nodes }) => nodes.filter((node) => type.test(node['Node Type'])).flatMap((node) => node['Relation Name'] ?? [])),
      );

    it.each([
      'from=2025-03-01&to=2025-04-01&groupBy=month',
      'from=2025-03-01&to=2025-04-01&groupBy=model&cost=true',
      'from=2025-03-01T05:00:00Z&to=2025-04-01T04:00:00Z&groupBy=day&timeZone=America/New_York',
      '',
    ])('read only the rollups, with an index, for ?%s', async (query) => {
      const plans = await plansOfSums(query);
      // A search reads the next rows, and then those that an index found.
      expect([1, 2]).toContain(plans.length);
      expect(readBy(plans, /./)).toEqual(new Set(['usage_model_rollups']));
      expect(readBy(plans, /Seq Scan/)).toEqual(new Set());
    });

    it.each([
      'from=2025-03-01T00:10:00Z&to=2025-03-31T23:50:00Z&groupBy=month',
      'from=2025-03-01T00:00:00Z&to=2025-04-01T00:00:00Z&timeZone=Asia/Kolkata',
    ])('also read the events of partial hours, with an index, for ?%s', async (query) => {
      const plans = await plansOfSums(query);
      // A search reads the next rows, and then those that an index found.
      expect([1, 2]).toContain(plans.length);
      expect(readBy(plans, /./)).toEqual(new Set(['usage_model_rollups', 'usage_seals', 'usage_2025_03']));
      expect(readBy(plans, /Seq Scan/)).toEqual(new Set(['usage_seals']));
    });

    it.each(['', '?from=2025-03-01&to=2025-04-01', '?limit=100', '?model=m3'])('read records %s with an index', async (query) => {
      await expectIndexed(pathOf(query), owner.admin, 'usage');
    });

    it('read a later page of records with an index', async () => {
      const { body } = await t.http.get(pathOf('?limit=100')).set(owner.admin.auth).expect(200);
      await expectIndexed(pathOf(`?limit=100&cursor=${body.nextCursor}`), owner.admin, 'usage');
    });
  });
});

import { sql } from 'drizzle-orm';
import { newId } from '../../../src/platform/crypto/ids.js';
import { DATABASE, type Database } from '../../../src/platform/database/database.js';
import { MeterExportsRepository } from '../../../src/usage/exports/meter-exports.repository.js';
import { type MeteredEvent, MeterExportsService } from '../../../src/usage/exports/meter-exports.service.js';
import { VirtualClock } from '../../simulators/virtual-time.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { exportsIn, type MeterProvider, MeterWorld, recordUsage, tokensOf } from '../../support/usage/meter-world.js';
import { type SignedInPerson, signUp, signUpOperator } from '../../support/people.js';
import { allPages } from '../../support/tenants.js';
import { until } from '../../support/until.js';

const PATH = '/v1/meter-exports';
const PRODUCTS = { polar: 'prod_metered', dodo: 'pdt_metered' };

interface Listed {
  provider: string;
  ownerId: string;
  eventId: string;
  tokensUsed: number;
  state: string;
  nextAttemptAt: string | null;
  lastError: string | null;
}

describe('usage exports', () => {
  let clock: VirtualClock;
  let world: MeterWorld;
  let t: TestApp;
  let operator: SignedInPerson;
  beforeAll(async () => {
    clock = new VirtualClock(Date.now());
    world = await MeterWorld.start(clock);
    t = await world.startApp(undefined, { BILLING_PRODUCTS: `polar:${PRODUCTS.polar}=pro,dodo:${PRODUCTS.dodo}=pro` });
    operator = await signUpOperator(t);
  });
  afterAll(async () => {
    await t.close();
    await world.close();
  });
  afterEach(async () => {
    await t.db.rows('DELETE FROM meter_exports');
  });

  const untilSent = async () =>
    until(
      async () => (await exportsIn(t.db)).length === 0,
      async () => JSON.stringify((await exportsIn(t.db)).slice(0, 3)),
    );
  const untilRefused = async (count: number) =>
    until(async () => (await t.db.rows('SELECT FROM meter_exports WHERE next_attempt_at IS NULL')).length === count);
  const list = (as: SignedInPerson, query: object = {}) => t.http.get(PATH).query(query).set(as.auth);
  const metric = async (name: string, provider: string): Promise<number | undefined> => {
    const { text } = await t.http.get('/metrics').expect(200);
    const found = new RegExp(`^${name}\\{provider="${provider}"\\} (\\S+)$`, 'm').exec(text)?.[1];
    return found === undefined ? undefined : Number(found);
  };

  it('are sent to Polar with numeric fields that it can sum, and with the fields of its model views', async () => {
    const event: MeteredEvent = {
      ...world.event('polar', { providerCustomerId: world.newCustomer('polar') }),
      model: 'openai/gpt-5',
      inputTokens: 100,
      cachedInputTokens: 20,
      outputTokens: 30,
      reasoningTokens: 4,
      tokensUsed: 154,
    };
    const plain = { ...event, eventId: newId(), model: 'gpt-5' };
    await recordUsage(t, [event, plain]);
    await untilSent();
    const metadata = { input_tokens: 100, cached_input_tokens: 20, output_tokens: 30, reasoning_tokens: 4, tokens_used: 154 };
    const common = { name: 'tokens', customer_id: event.providerCustomerId, timestamp: event.occurredAt.toISOString() };
    expect(world.polar.usage.slice(-2)).toEqual(
      expect.arrayContaining([
        {
          ...common,
          external_id: `${event.ownerId}:${event.eventId}`,
          metadata: {
            ...metadata,
            model: 'openai/gpt-5',
            _llm: { vendor: 'openai', model: 'gpt-5', input_tokens: 120, cached_input_tokens: 20, output_tokens: 34, total_tokens: 154 },
          },
        },
        { ...common, external_id: `${plain.ownerId}:${plain.eventId}`, metadata: { ...metadata, model: 'gpt-5' } },
      ]),
    );
  });

  it.each(['polar', 'dodo'] as const)('are sent to %s once for each settled hold, single event and event of a batch', async (provider) => {
    const person = await signUp(t);
    const { auth } = person;
    await t.db.rows(
      `INSERT INTO subscriptions (id, provider, provider_subscription_id, provider_customer_id, owner_kind, owner_id, product_id, status, started_at, current_period_end)
       VALUES ($1::uuid, $2, $1::uuid::text, $3, 'user', $4, $5, 'active', $6, $7)`,
      [
        newId(),
        provider,
        world.newCustomer(provider),
        person.id,
        PRODUCTS[provider],
        ...[-60_000, 86_400_000].map((ms) => new Date(clock.now().getTime() + ms)),
      ],
    );
    const before = world.tokensAt(provider);
    const events = Array.from({ length: 100 }, (_, index) => ({ eventId: `batch-${index}`, model: 'm', tokens: 1 }));
    for (let attempt = 0; attempt < 2; attempt += 1) await t.http.post('/v1/usage/batch').set(auth).send({ events }).expect(200);
    await t.http.post('/v1/usage').set(auth).send({ eventId: 'one', model: 'm', inputTokens: 20, outputTokens: 3 }).expect(201);
    const hold = await t.http.post('/v1/usage/holds').set(auth).send({ estimatedTokens: 1000 }).expect(201);
    await t.http.post(`/v1/usage/holds/${hold.body.id}/settle`).set(auth).send({ eventId: 'held', model: 'm', tokens: 400 }).expect(201);
    await untilSent();
    expect(world.tokensAt(provider) - before).toBe(523);
    expect((await t.http.get('/v1/usage/quota').set(auth).expect(200)).body.used).toBe(523);
  });

  it('are sent to Dodo with flat metadata', async () => {
    const event = world.event('dodo', { providerCustomerId: world.newCustomer('dodo'), model: 'openai/gpt-5', tokensUsed: 7 });
    await recordUsage(t, [event]);
    await untilSent();
    expect(world.dodo.usage.get(`${event.ownerId}:${event.eventId}`)).toEqual({
      event_name: 'tokens',
      event_id: `${event.ownerId}:${event.eventId}`,
      customer_id: event.providerCustomerId,
      timestamp: event.occurredAt.toISOString(),
      metadata: {
        model: 'openai/gpt-5',
        input_tokens: 7,
        cached_input_tokens: 0,
        output_tokens: 0,
        reasoning_tokens: 0,
        tokens_used: 7,
      },
    });
  });

  it('are sent for each owner if two owners use the same event id', async () => {
    const before = world.tokensAt('polar');
    const event = world.event('polar', { providerCustomerId: world.newCustomer('polar') });
    await recordUsage(t, [event, { ...event, ownerId: newId() }]);
    await untilSent();
    expect(world.tokensAt('polar') - before).toBe(20);
  });

  it.each<MeterProvider>(['polar', 'dodo'])(
    'are sent to %s with the exact number of tokens, a thousand events in one request',
    async (provider) => {
      const before = { tokens: world.tokensAt(provider), requests: world.requestsAt(provider) };
      const events = world.events(provider, world.newCustomer(provider), 2500);
      await recordUsage(t, events);
      await untilSent();
      expect(world.tokensAt(provider) - before.tokens).toBe(tokensOf(events));
      expect(world.requestsAt(provider) - before.requests).toBe(3);
    },
  );

  it('are not sent after a rollback', async () => {
    const meters = t.app.get(MeterExportsService);
    const event = world.event('polar', { providerCustomerId: world.newCustomer('polar') });
    const rolledBack = t.app.get<Database>(DATABASE).transaction(async (tx) => {
      await meters.enqueue([event], tx);
      throw new Error('rolled back');
    });
    await expect(rolledBack).rejects.toThrow('rolled back');
    expect(await exportsIn(t.db)).toEqual([]);
  });

  it('are not sent without a configured meter', async () => {
    const without = await startTestApp({ POLAR_ACCESS_TOKEN: 'a token' }, t.db);
    try {
      await recordUsage(without, [
        world.event('polar', { providerCustomerId: world.newCustomer('polar') }),
        world.event('dodo', { providerCustomerId: world.newCustomer('dodo') }),
      ]);
      expect(await exportsIn(t.db)).toEqual([]);
    } finally {
      await without.close();
    }
  });

  it('are sent once by two processes that find them at the same time', async () => {
    const other = await world.startApp(t.db);
    try {
      const before = { polar: world.tokensAt('polar'), dodo: world.tokensAt('dodo') };
      const ofPolar = world.events('polar', world.newCustomer('polar'), 4000);
      const ofDodo = world.events('dodo', world.newCustomer('dodo'), 4000);
      await Promise.all([
        recordUsage(t, [...ofPolar.slice(0, 2000), ...ofDodo.slice(0, 2000)]),
        recordUsage(other, [...ofPolar.slice(2000), ...ofDodo.slice(2000)]),
      ]);
      await untilSent();
      expect(world.tokensAt('polar') - before.polar).toBe(tokensOf(ofPolar));
      expect(world.tokensAt('dodo') - before.dodo).toBe(tokensOf(ofDodo));
    } finally {
      await other.close();
    }
  });

  it.each<MeterProvider>(['polar', 'dodo'])(
    'of a customer unknown to %s are listed as refused, and are sent by a retry once the customer exists',
    async (provider) => {
      const before = world.tokensAt(provider);
      const known = world.events(provider, world.newCustomer(provider), 50);
      const customerId = world.newCustomer(provider);
      const customers = world[provider].account.customers as Map<string, unknown>;
      const customer = customers.get(customerId);
      customers.delete(customerId);
      const unknown = world.events(provider, customerId, 3);
      await recordUsage(t, [...known.slice(0, 20), ...unknown, ...known.slice(20)]);
      await untilRefused(3);
      await until(async () => world.tokensAt(provider) - before === tokensOf(known));

      const { body } = await list(operator, { provider }).expect(200);
      expect(body.data).toHaveLength(3);
      for (const one of body.data as Listed[]) {
        const { ownerId, eventId, tokensUsed } = unknown.find((event) => event.eventId === one.eventId)!;
        expect(one).toMatchObject({ provider, ownerId, eventId, tokensUsed, state: 'refused', nextAttemptAt: null, attempts: 1 });
        expect(one.lastError).toMatch(/customer/i);
      }
      expect(await metric('tenantry_meter_exports_refused', provider)).toBe(3);

      customers.set(customerId, customer);
      await t.http.post(`${PATH}/retry`).set(operator.auth).send({ provider }).expect(202, { retried: 3 });
      await untilSent();
      expect(world.tokensAt(provider) - before).toBe(tokensOf([...known, ...unknown]));
      await t.http.post(`${PATH}/retry`).set(operator.auth).send({ provider }).expect(202, { retried: 0 });
      const audited = await t.db.rows(
        `SELECT actor_id, target_id FROM audit_log WHERE action = 'meter_export.retried' AND target_id = $1`,
        [provider],
      );
      expect(audited).toEqual([
        { actor_id: operator.id, target_id: provider },
        { actor_id: operator.id, target_id: provider },
      ]);
    },
  );

  it('are leased by one worker only: two concurrent workers get different rows', async () => {
    const repository = t.app.get(MeterExportsRepository);
    const database = t.app.get<Database>(DATABASE);
    await t.db.rows(
      `INSERT INTO meter_exports (provider, owner_id, event_id, provider_customer_id, occurred_at, "values", tokens_used, next_attempt_at, created_at)
       SELECT 'polar', gen_random_uuid(), 'event-' || n, 'customer', $1, '{}', n, $1::timestamptz + interval '1 day', $1 FROM generate_series(1, 4) n`,
      [clock.now()],
    );
    const now = new Date(clock.now().getTime() + 2 * 86_400_000);
    const claim = { now, until: new Date(now.getTime() + 60_000), limit: 2 };
    await database.transaction(async (one) => {
      const first = await repository.lease('polar', claim, one);
      const second = await database.transaction(async (other) => {
        // The second worker skips locked rows without waiting.
        await other.execute(sql`SET LOCAL lock_timeout = '5s'`);
        return repository.lease('polar', claim, other);
      });
      const taken = [...first, ...second].map(({ eventId }) => eventId);
      expect(taken.toSorted()).toEqual(['event-1', 'event-2', 'event-3', 'event-4']);
    });
  });

  it('are retried only once by one call, even if the provider refuses them again immediately', async () => {
    const count = 501;
    await t.db.rows(
      `INSERT INTO meter_exports (provider, owner_id, event_id, provider_customer_id, occurred_at, "values", tokens_used, next_attempt_at, created_at, last_error)
       SELECT 'polar', gen_random_uuid(), 'event-' || n, 'customer', $1, '{}', n, NULL, $1, 'no' FROM generate_series(1, ${count}) n`,
      [clock.now()],
    );
    // Simulates a provider that refuses during the call. The exception stops an endless loop.
    await t.db.rows(`
      CREATE SEQUENCE retries;
      CREATE FUNCTION refuse_immediately() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF nextval('retries') > 2 * ${count} THEN RAISE 'retried in a loop'; END IF;
          NEW.next_attempt_at = NULL;
          RETURN NEW;
        END $$;
      CREATE TRIGGER refuse_immediately BEFORE UPDATE OF next_attempt_at ON meter_exports FOR EACH ROW
        WHEN (NEW.next_attempt_at IS NOT NULL) EXECUTE FUNCTION refuse_immediately()`);
    try {
      await t.http.post(`${PATH}/retry`).set(operator.auth).send({ provider: 'polar' }).expect(202, { retried: count });
    } finally {
      await t.db.rows('DROP TRIGGER refuse_immediately ON meter_exports; DROP FUNCTION refuse_immediately; DROP SEQUENCE retries');
    }
  });

  describe('in the list', () => {
    beforeEach(async () => {
      await t.db.rows(
        `INSERT INTO meter_exports (provider, owner_id, event_id, provider_customer_id, occurred_at, "values", tokens_used,
                                    next_attempt_at, created_at, last_error)
         SELECT (CASE WHEN n % 2 = 0 THEN 'polar' ELSE 'dodo' END)::billing_provider, gen_random_uuid(), 'event-' || n, 'customer', $1,
                '{"model": "gpt-5"}', n, CASE WHEN n <= 10 THEN NULL ELSE $1::timestamptz + interval '1 day' END,
                $1::timestamptz - (n / 4) * interval '1 hour', 'no'
           FROM generate_series(1, 20) n`,
        [clock.now()],
      );
    });

    const ids = (all: Listed[]) => all.map(({ eventId }) => Number(eventId.slice('event-'.length)));

    it('are only the refused ones by default, sorted by provider, oldest first', async () => {
      const all = await allPages<Listed>(t, operator, PATH, 3);
      expect(all.map(({ state }) => state)).toEqual(Array.from({ length: 10 }, () => 'refused'));
      expect(all.map(({ provider }) => provider)).toEqual([...Array<string>(5).fill('polar'), ...Array<string>(5).fill('dodo')]);
      expect(ids(all).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      expect(ids(all)[0]).toBeGreaterThanOrEqual(8);
    });

    it('are the pending ones with state=pending', async () => {
      const all = await allPages<Listed>(t, operator, `${PATH}?state=pending&provider=dodo`, 2);
      expect(ids(all).toSorted((a, b) => a - b)).toEqual([11, 13, 15, 17, 19]);
      expect(all[0]).toMatchObject({ state: 'pending', nextAttemptAt: new Date(clock.now().getTime() + 86_400_000).toISOString() });
    });

    it('are counted in metrics, with the longest wait', async () => {
      expect(await metric('tenantry_meter_exports_pending', 'polar')).toBe(5);
      expect(await metric('tenantry_meter_exports_refused', 'polar')).toBe(5);
      expect(await metric('tenantry_meter_export_lag_seconds', 'polar')).toBe(5 * 3600);
    });

    it('reject a cursor of another list and an unknown filter', async () => {
      const { body } = await list(operator, { limit: 1 }).expect(200);
      await list(operator, { limit: 1, cursor: body.nextCursor, state: 'pending' }).expect(400);
      await list(operator, { provider: 'manual' }).expect(400);
      await list(operator, { state: 'taken' }).expect(400);
    });
  });

  it('are visible to operators only', async () => {
    const person = await signUp(t);
    await t.http.get(PATH).expect(401);
    await list(person).expect(403);
    await t.http.post(`${PATH}/retry`).send({ provider: 'polar' }).expect(401);
    await t.http.post(`${PATH}/retry`).set(person.auth).send({ provider: 'polar' }).expect(403);
    for (const body of [{}, { provider: 'manual' }, { provider: 'polar', more: 1 }])
      await t.http.post(`${PATH}/retry`).set(operator.auth).send(body).expect(400);
  });
});

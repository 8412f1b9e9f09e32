import { Clock } from '../../src/platform/time/clock.service.js';
import { newId } from '../../src/platform/crypto/ids.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { type SignedInPerson, signUp, signUpOperator } from '../support/people.js';
import { addMember, createOrganization } from '../support/tenants.js';

type Organization = Awaited<ReturnType<typeof createOrganization>>;

describe('recording usage', () => {
  let t: TestApp;
  let ada: SignedInPerson;
  let bob: SignedInPerson;
  let organization: Organization;
  let writer: { 'x-api-key': string };
  beforeAll(async () => {
    t = await startTestApp();
    [ada, bob] = await Promise.all([signUp(t), signUp(t)]);
  });
  beforeEach(async () => {
    organization = await createOrganization(t, ada);
    await addMember(t, organization.id, bob);
    const { body } = await t.http
      .post(`${organization.path}/api-keys`)
      .set(ada.auth)
      .send({ name: 'meter', scopes: ['usage:write'] });
    writer = { 'x-api-key': body.key as string };
  });
  afterAll(async () => t.close());

  const event = (fields: object = {}) => ({ eventId: newId(), model: 'gpt-5-mini', inputTokens: 10, outputTokens: 5, ...fields });
  const post = (body: unknown, caller: Record<string, string> = writer, path = '') =>
    t.http
      .post(`${organization.path}/usage${path}`)
      .set(caller)
      .send(body as object);
  const rowsOf = (ownerId: string) => t.db.rows('SELECT * FROM usage WHERE owner_id = $1 ORDER BY created_at, event_id', [ownerId]);

  it('reports an inconsistent event id as an internal error', async () => {
    const broken = event({ occurredAt: new Date().toISOString() });
    await post(broken).expect(201);
    await t.db.rows('DELETE FROM usage_event_ids WHERE owner_id = $1', [organization.id]);
    const { body } = await post(broken).expect(500);
    expect(body.code).toBe('internal_error');
    await t.db.rows('DELETE FROM usage WHERE owner_id = $1', [organization.id]);
  });

  it('stores an event, and returns the remaining quota', async () => {
    const { status, body, headers } = await post(
      event({ eventId: 'a', cachedInputTokens: 3, reasoningTokens: 2, metadata: { chat: 'x' } }),
    );
    expect(status).toBe(201);
    expect(body).toMatchObject({
      eventId: 'a',
      outcome: 'inserted',
      quota: { used: 20, held: 0, overrun: 0, limit: 100_000, hard: true, remaining: 99_980 },
    });
    expect(headers['ratelimit']).toMatch(/^"usage";r=\d+;t=\d+, "quota";r=99980;t=\d+$/);
    expect(headers['ratelimit-policy']).toMatch(/, "quota";q=100000;w=\d+;qu="tokens"$/);
    expect(await rowsOf(organization.id)).toEqual([
      expect.objectContaining({
        event_id: 'a',
        tokens_used: '20',
        input_tokens: '10',
        cached_input_tokens: '3',
        actor_user_id: null,
        metadata: { chat: 'x' },
      }),
    ]);
    expect(await t.db.rows('SELECT events, tokens_used FROM usage_rollups WHERE owner_id = $1', [organization.id])).toEqual([
      { events: '1', tokens_used: '20' },
    ]);
  });

  it('returns a result for each event of a batch, and a bad event does not affect the others', async () => {
    await post(event({ eventId: 'known' }));
    const { status, body } = await post(
      {
        events: [
          event({ eventId: 'known' }),
          event({ eventId: 'known', inputTokens: 11 }),
          event({ eventId: 'new' }),
          event({ eventId: 'new' }),
          event({ eventId: 'future', occurredAt: new Date(Date.now() + 600_000).toISOString() }),
          event({ eventId: 'old', occurredAt: '2001-01-01T00:00:00Z' }),
          event({ eventId: 'stranger', userId: newId() }),
          event({ eventId: 'large', inputTokens: 100_000 }),
          event({ eventId: 'negative', inputTokens: -1 }),
          event({ eventId: 'nul\0' }),
          'rubbish',
        ],
      },
      writer,
      '/batch',
    );
    expect(status).toBe(200);
    expect(body.results.map(({ eventId, outcome, reason }: Record<string, string>) => [eventId, outcome, reason])).toEqual([
      ['known', 'duplicate', undefined],
      ['known', 'conflict', undefined],
      ['new', 'inserted', undefined],
      ['new', 'duplicate', undefined],
      ['future', 'rejected', 'in_the_future'],
      ['old', 'rejected', 'too_old'],
      ['stranger', 'rejected', 'unknown_user'],
      ['large', 'rejected', 'quota_exceeded'],
      ['negative', 'rejected', 'invalid'],
      ['nul\0', 'rejected', 'invalid'],
      ['', 'rejected', 'invalid'],
    ]);
    expect(body.results[8].errors).toEqual([{ path: 'body.events.8.inputTokens', message: 'inputTokens must not be negative' }]);
    expect(body).toMatchObject({ quota: { used: 30 }, plan: 'pro' });
  });

  it('names the plan that would accept an event of another period', async () => {
    const late = () => event({ inputTokens: 60_000, occurredAt: new Date(Date.now() - 86_400_000).toISOString() });
    await post(late()).expect(201);
    const { status, body } = await post(late());
    expect([status, body.plan]).toEqual([402, 'pro']);
  });

  it('returns the first result for a repeated event, and 409 for another event with the same id', async () => {
    const first = event({ metadata: { a: 1, b: 'x' } });
    expect((await post(first)).status).toBe(201);
    const { status, body } = await post({ ...first, metadata: { b: 'x', a: 1 }, reasoningTokens: 0 });
    expect([status, body.outcome, body.quota.used]).toEqual([200, 'duplicate', 15]);
    const conflict = await post({ ...first, outputTokens: 6 });
    expect([conflict.status, conflict.body.code]).toEqual([409, 'usage_conflict']);
    expect(await rowsOf(organization.id)).toHaveLength(1);
  });

  it('keeps event ids of different owners apart', async () => {
    const same = event();
    const other = await createOrganization(t, ada);
    expect((await post(same)).status).toBe(201);
    await t.http.post(`${other.path}/usage`).set(ada.auth).send(same).expect(201);
    await t.http.post('/v1/usage').set(ada.auth).send(same).expect(201);
  });

  it.each([
    ['an empty body', {}, ['body.eventId', 'body.model']],
    ['no tokens', { eventId: 'a', model: 'm' }, ['body.tokens']],
    ['a total beside classes', { eventId: 'a', model: 'm', tokens: 1, inputTokens: 1 }, ['body.tokens']],
    ['a fraction', { eventId: 'a', model: 'm', tokens: 1.5 }, ['body.tokens']],
    ['a number that is too large', { eventId: 'a', model: 'm', tokens: 2 ** 53 }, ['body.tokens']],
    ['a string for a number', { eventId: 'a', model: 'm', inputTokens: '1' }, ['body.inputTokens']],
    ['an invalid time', { eventId: 'a', model: 'm', tokens: 1, occurredAt: '2026-02-30T00:00:00Z' }, ['body.occurredAt']],
    ['a time without a zone', { eventId: 'a', model: 'm', tokens: 1, occurredAt: '2026-02-03T00:00:00' }, ['body.occurredAt']],
    [
      'a time in the future',
      { eventId: 'a', model: 'm', tokens: 1, occurredAt: new Date(Date.now() + 600_000).toISOString() },
      ['body.occurredAt'],
    ],
    ['a time that is too old', { eventId: 'a', model: 'm', tokens: 1, occurredAt: '2001-01-01T00:00:00Z' }, ['body.occurredAt']],
    ['a nested value', { eventId: 'a', model: 'm', tokens: 1, metadata: { a: { b: 1 } } }, ['body.metadata.a']],
    ['an unknown field', { eventId: 'a', model: 'm', tokens: 1, cost: 1 }, ['body.cost']],
    ['a user who is not a member', { eventId: 'a', model: 'm', tokens: 1, userId: newId() }, ['body.userId']],
  ])('rejects %s, and names the field', async (_, body, paths) => {
    const answer = await post(body);
    expect([answer.status, answer.body.code]).toEqual([400, 'invalid_request']);
    expect(answer.body.errors.map(({ path }: { path: string }) => path)).toEqual(paths);
  });

  it.each([
    ['no list', {}],
    ['an empty list', { events: [] }],
    ['more than a thousand', { events: Array.from({ length: 1001 }, () => ({})) }],
  ])('rejects %s as a batch', async (_, body) => {
    const answer = await post(body, writer, '/batch');
    expect([answer.status, answer.body.errors[0].path]).toEqual([400, 'body.events']);
  });

  it('lets members name only themselves, and lets admins and keys name every current and former member', async () => {
    const carl = await signUp(t);
    await addMember(t, organization.id, carl);
    await t.db.rows('UPDATE organization_memberships SET deleted_at = now() WHERE organization_id = $1 AND user_id = $2', [
      organization.id,
      carl.id,
    ]);
    const refused = await post(event({ userId: ada.id }), bob.auth);
    expect([refused.status, refused.body.errors[0].path]).toEqual([400, 'body.userId']);
    const taken: [Record<string, string>, object, string | null][] = [
      [bob.auth, {}, bob.id],
      [bob.auth, { userId: bob.id.toUpperCase() }, bob.id],
      [ada.auth, { userId: bob.id }, bob.id],
      [ada.auth, { userId: carl.id }, carl.id],
      [writer, { userId: carl.id }, carl.id],
      [writer, {}, null],
    ];
    for (const [caller, fields, actor] of taken) {
      const given = event(fields);
      expect((await post(given, caller)).status).toBe(201);
      expect(await t.db.rows('SELECT actor_user_id FROM usage WHERE event_id = $1', [given.eventId])).toEqual([{ actor_user_id: actor }]);
    }
  });

  it('treats the same event of two users as different, and the own user id as equal to none', async () => {
    const given = event();
    expect((await post(given, ada.auth)).body.outcome).toBe('inserted');
    const byBob = await post(given, bob.auth);
    expect([byBob.status, byBob.body.code]).toEqual([409, 'usage_conflict']);
    expect((await post(given)).status).toBe(409);
    const batch = { events: [{ ...given, userId: ada.id.toUpperCase() }, { ...given, userId: bob.id }, given] };
    const { body } = await post(batch, ada.auth, '/batch');
    expect(body.results.map(({ outcome }: { outcome: string }) => outcome)).toEqual(['duplicate', 'conflict', 'duplicate']);
    expect((await post({ ...given, userId: ada.id })).body.outcome).toBe('duplicate');
    expect(await rowsOf(organization.id)).toHaveLength(1);
  });

  it('treats an event from before the upgrade as a duplicate', async () => {
    const fields = { model: 'gpt-5-mini', inputTokens: 10, outputTokens: 5, metadata: { b: 'é"', a: 1.5 } };
    // As revision 88311cb wrote it, with a fingerprint without a user.
    await t.db.rows('INSERT INTO usage_event_ids (owner_id, event_id, fingerprint) VALUES ($1, $2, $3)', [
      organization.id,
      'old',
      Buffer.from('218bc8250a62ee72fb39905078514302', 'hex'),
    ]);
    const retries: [object, Record<string, string>, string][] = [
      [fields, ada.auth, 'duplicate'],
      [{ ...fields, userId: ada.id }, ada.auth, 'duplicate'],
      [fields, writer, 'duplicate'],
      [{ ...fields, inputTokens: 11 }, ada.auth, 'conflict'],
    ];
    for (const [given, caller, outcome] of retries) {
      const { body } = await post({ events: [{ eventId: 'old', ...given }] }, caller, '/batch');
      expect(body.results[0].outcome).toBe(outcome);
    }
    expect((await post({ eventId: 'old', ...fields }, ada.auth)).status).toBe(200);
  });

  it('treats the same hold of another user as a conflict', async () => {
    const holdId = newId();
    const hold = async (caller: Record<string, string>, fields: object = {}) =>
      (await post({ estimatedTokens: 10, holdId, ...fields }, caller, '/holds')).status;
    expect([await hold(ada.auth), await hold(ada.auth, { userId: ada.id }), await hold(bob.auth), await hold(writer)]).toEqual([
      201, 201, 409, 409,
    ]);
    expect(await hold(writer, { userId: ada.id })).toBe(201);
  });

  it('answers 402 at a hard limit, names the plan that would help, and stores nothing', async () => {
    await post(event({ inputTokens: 99_990, outputTokens: 0 }));
    const { status, body, headers } = await post(event({ eventId: 'over' }));
    expect(status).toBe(402);
    expect(body).toMatchObject({ code: 'quota_exceeded', plan: 'pro', quota: { used: 99_990, remaining: 10 } });
    expect(body.detail).toContain('The plan Pro would allow it.');
    expect(Number(headers['retry-after'])).toBeGreaterThan(0);
    expect(headers['ratelimit']).toContain('"quota";r=10;');
    expect((await post(event({ eventId: 'over', inputTokens: 5 }))).status).toBe(201);
    expect((await post(event({ inputTokens: 1, outputTokens: 0 }))).status).toBe(402);
    expect((await post(event({ inputTokens: 0, outputTokens: 0 }))).status).toBe(201);
  });

  it('counts late events in the hour and the period of their time', async () => {
    const late = new Date(Date.now() - 70 * 86_400_000);
    const { status, body } = await post(event({ occurredAt: late.toISOString() }));
    expect([status, body.quota.used]).toEqual([201, 0]);
    const hour = new Date(Math.floor(late.getTime() / 3_600_000) * 3_600_000);
    expect(await t.db.rows('SELECT hour, tokens_used FROM usage_rollups WHERE owner_id = $1', [organization.id])).toEqual([
      { hour, tokens_used: '15' },
    ]);
    const [quota] = await t.db.rows<{ used: string; period_start: Date; period_end: Date }>(
      'SELECT * FROM usage_quotas WHERE used > 0 AND owner_id = $1',
      [organization.id],
    );
    expect(quota!.used).toBe('15');
    expect(quota!.period_start <= late && late < quota!.period_end).toBe(true);
  });

  it('creates a partition again that was dropped after it was cached', async () => {
    const occurredAt = new Date(Date.now() - 100 * 86_400_000).toISOString();
    await post(event({ occurredAt })).expect(201);
    const [partition] = await t.db.rows<{ name: string }>('SELECT tableoid::regclass AS name FROM usage WHERE owner_id = $1', [
      organization.id,
    ]);
    await t.db.rows(`DROP TABLE ${partition!.name}`);
    await post(event({ eventId: 'after', occurredAt })).expect(201);
    expect(await rowsOf(organization.id)).toEqual([expect.objectContaining({ event_id: 'after' })]);
  });

  it('counts a user’s own usage apart from an organization’s', async () => {
    const person = await signUp(t);
    await t.http.post('/v1/usage').set(person.auth).send(event()).expect(201);
    const { body } = await t.http.get('/v1/usage/quota').set(person.auth).expect(200);
    expect(body).toMatchObject({ used: 15, held: 0, limit: 100_000, remaining: 99_985, hard: true, overrun: 0 });
    const other = await t.http
      .post('/v1/usage')
      .set(person.auth)
      .send(event({ userId: ada.id }));
    expect([other.status, other.body.errors[0].path]).toEqual([400, 'body.userId']);
  });
});

describe('holds', () => {
  let t: TestApp;
  let ada: SignedInPerson;
  let time = Date.now();
  beforeAll(async () => {
    t = await startTestApp();
    t.app.get(Clock).now = () => new Date(time);
  });
  beforeEach(async () => {
    ada = await signUp(t);
  });
  afterAll(async () => t.close());

  const hold = (body: object) => t.http.post('/v1/usage/holds').set(ada.auth).send(body);
  const settle = (id: string, body: object) =>
    t.http
      .post(`/v1/usage/holds/${id}/settle`)
      .set(ada.auth)
      .send({ model: 'm', ...body });
  const release = (id: string) => t.http.delete(`/v1/usage/holds/${id}`).set(ada.auth);
  const quota = async () => (await t.http.get('/v1/usage/quota').set(ada.auth).expect(200)).body as Record<string, number>;

  it('reserve an estimate, and release the rest when they are settled', async () => {
    const { status, body } = await hold({ estimatedTokens: 60_000 });
    expect([status, body.status, body.remaining]).toEqual([201, 'live', 40_000]);
    expect(await quota()).toMatchObject({ used: 0, held: 60_000, remaining: 40_000 });
    const refused = await hold({ estimatedTokens: 40_001 });
    expect([refused.status, refused.body.code, refused.body.plan]).toEqual([402, 'quota_exceeded', 'pro']);
    const settled = await settle(body.id, { eventId: 'a', tokens: 10 });
    expect(settled.body).toMatchObject({
      outcome: 'inserted',
      hold: { status: 'settled' },
      quota: { used: 10, held: 0, overrun: 0, remaining: 99_990 },
    });
  });

  it('can be settled with more than they reserved, even past the cap, which is counted as overrun', async () => {
    const { body } = await hold({ estimatedTokens: 99_999 });
    const settled = await settle(body.id, { eventId: 'a', tokens: 150_000 });
    expect(settled.status).toBe(201);
    expect(settled.body.quota).toMatchObject({ used: 150_000, held: 0, overrun: 50_001, remaining: 0 });
    expect((await hold({ estimatedTokens: 1 })).status).toBe(402);
    expect(await t.db.rows('SELECT overrun FROM usage WHERE owner_id = $1', [ada.id])).toEqual([{ overrun: '50001' }]);
  });

  it('can be released repeatedly, with one effect', async () => {
    const { body } = await hold({ estimatedTokens: 100_000 });
    expect((await release(body.id)).status).toBe(204);
    expect((await release(body.id)).status).toBe(204);
    expect(await quota()).toMatchObject({ held: 0, remaining: 100_000 });
    const late = await settle(body.id, { eventId: 'late', tokens: 5 });
    expect([late.status, late.body.quota.overrun]).toEqual([201, 5]);
    const again = await release(body.id);
    expect([again.status, again.body.code]).toEqual([409, 'hold_settled']);
  });

  it('expire without a job, and can still be settled', async () => {
    const { body } = await hold({ estimatedTokens: 100_000, expiresInSeconds: 60 });
    expect((await hold({ estimatedTokens: 1 })).status).toBe(402);
    time += 60_000;
    expect(await quota()).toMatchObject({ held: 0, remaining: 100_000 });
    expect((await hold({ estimatedTokens: 1, holdId: newId() })).status).toBe(201);
    const settled = await settle(body.id, { eventId: 'a', tokens: 7 });
    expect([settled.status, settled.body.quota]).toEqual([201, expect.objectContaining({ used: 7, held: 1, overrun: 7 })]);
  });

  it('with an id from the caller can be requested again', async () => {
    const holdId = newId();
    const first = await hold({ estimatedTokens: 10, holdId, model: 'm' });
    const second = await hold({ estimatedTokens: 10, holdId: holdId.toUpperCase(), model: 'm' });
    expect([first.body.id, second.body.id, second.body.expiresAt]).toEqual([holdId, holdId, first.body.expiresAt]);
    expect(await quota()).toMatchObject({ held: 10 });
    const conflict = await hold({ estimatedTokens: 11, holdId, model: 'm' });
    expect([conflict.status, conflict.body.code]).toEqual([409, 'hold_conflict']);
  });

  it('are settled once: the same event is a duplicate, another one a conflict', async () => {
    const { body } = await hold({ estimatedTokens: 10 });
    expect((await settle(body.id, { eventId: 'a', tokens: 5 })).status).toBe(201);
    const again = await settle(body.id, { eventId: 'a', tokens: 5 });
    expect([again.status, again.body.outcome, again.body.quota.used]).toEqual([200, 'duplicate', 5]);
    const conflict = await settle(body.id, { eventId: 'a', tokens: 6 });
    expect([conflict.status, conflict.body.code]).toEqual([409, 'usage_conflict']);
    const other = await settle(body.id, { eventId: 'b', tokens: 5 });
    expect([other.status, other.body.code]).toEqual([409, 'hold_settled']);
  });

  it('are released when their event was recorded without them', async () => {
    await t.http.post('/v1/usage').set(ada.auth).send({ eventId: 'a', model: 'm', tokens: 5 }).expect(201);
    const { body } = await hold({ estimatedTokens: 10 });
    const settled = await settle(body.id, { eventId: 'a', tokens: 5 });
    expect([settled.status, settled.body]).toMatchObject([
      200,
      { outcome: 'duplicate', hold: { status: 'released' }, quota: { used: 5, held: 0 } },
    ]);
  });

  it('can name current and former members only', async () => {
    const { path } = await createOrganization(t, ada);
    const refused = await t.http.post(`${path}/usage/holds`).set(ada.auth).send({ estimatedTokens: 1, userId: newId() });
    expect([refused.status, refused.body.errors[0].path]).toEqual([400, 'body.userId']);
    await t.http.post(`${path}/usage/holds`).set(ada.auth).send({ estimatedTokens: 1, userId: ada.id }).expect(201);
  });

  it('are 404 for an unknown id, and 400 for an invalid request', async () => {
    expect((await settle(newId(), { eventId: 'a', tokens: 1 })).body.code).toBe('hold_not_found');
    expect((await release(newId())).body.code).toBe('hold_not_found');
    expect((await release('rubbish')).body.errors[0].path).toBe('params.holdId');
    for (const body of [
      {},
      { estimatedTokens: -1 },
      { estimatedTokens: '1' },
      { estimatedTokens: 1, expiresInSeconds: 0 },
      { estimatedTokens: 1, holdId: 'x' },
    ])
      expect((await hold(body)).status).toBe(400);
  });
});

describe('usage periods', () => {
  let t: TestApp;
  let operator: SignedInPerson;
  let time = Date.now();
  beforeAll(async () => {
    t = await startTestApp();
    t.app.get(Clock).now = () => new Date(time);
    operator = await signUpOperator(t);
  });
  afterAll(async () => t.close());

  /** Signs a new user up at the current time. */
  async function signUpNow(): Promise<SignedInPerson> {
    const person = await signUp(t);
    time = Date.now();
    return person;
  }

  const quotaOf = async ({ auth }: SignedInPerson) =>
    (await t.http.get('/v1/usage/quota').set(auth).expect(200)).body as Record<string, unknown>;
  const use = async ({ auth }: SignedInPerson, tokens: number) =>
    t.http.post('/v1/usage').set(auth).send({ eventId: newId(), model: 'm', tokens });
  const grant = async ({ id }: SignedInPerson, tier: string) =>
    (await t.http.post('/v1/subscriptions').set(operator.auth).send({ userId: id, tier }).expect(201)).body as { id: string };

  it('start with the owner, and again each month', async () => {
    const person = await signUpNow();
    const [row] = await t.db.rows<{ created_at: Date }>('SELECT created_at FROM users WHERE id = $1', [person.id]);
    expect((await use(person, 100_000)).status).toBe(201);
    expect((await use(person, 1)).status).toBe(402);
    const { periodStart, resetsAt } = await quotaOf(person);
    expect(periodStart).toBe(row!.created_at.toISOString());
    time = Date.parse(resetsAt as string) - 1;
    expect((await use(person, 1)).status).toBe(402);
    time += 1;
    expect((await use(person, 1)).status).toBe(201);
    expect(await quotaOf(person)).toMatchObject({ used: 1, periodStart: resetsAt });
  });

  it('start again with a subscription, and continue as before when it ends', async () => {
    const person = await signUpNow();
    await use(person, 90_000);
    const free = await quotaOf(person);
    time += 3_600_000;
    const { id } = await grant(person, 'pro');
    const granted = await quotaOf(person);
    expect(granted).toMatchObject({ used: 0, limit: 5_000_000, periodStart: new Date(time).toISOString() });
    await use(person, 200_000);
    time += 60_000;
    await t.http.delete(`/v1/subscriptions/${id}`).set(operator.auth).expect(204);
    expect(await quotaOf(person)).toMatchObject({ used: 90_000, limit: 100_000, periodStart: free['periodStart'] });
    expect((await use(person, 10_001)).status).toBe(402);
    expect((await use(person, 10_000)).status).toBe(201);
  });

  it('do not block usage with a soft limit', async () => {
    const person = await signUpNow();
    await grant(person, 'business');
    time += 120_000;
    expect((await use(person, 49_000_000)).status).toBe(201);
    time += 3_600_000;
    const { status, body } = await use(person, 2_000_000);
    expect([status, body.quota.hard, body.quota.remaining, body.quota.used]).toEqual([201, false, 0, 51_000_000]);
    const { body: alerts } = await t.http.get('/v1/usage/alerts').set(person.auth).expect(200);
    expect(alerts.data.map(({ threshold, used }: { threshold: number; used: number }) => [threshold, used])).toEqual([
      [100, 51_000_000],
      [80, 49_000_000],
      [50, 49_000_000],
    ]);
  });

  it('limit tokens per minute, and return the time until the next request', async () => {
    const person = await signUpNow();
    time += 3_600_000;
    const late = new Date(time - 120_000).toISOString();
    const { status, body } = await t.http
      .post('/v1/usage/batch')
      .set(person.auth)
      .send({ events: [{ eventId: 'late', model: 'm', tokens: 60_000, occurredAt: late }] });
    expect([status, body.results[0].outcome]).toEqual([200, 'inserted']);
    await grant(person, 'pro');
    // A plan of a million tokens a minute accepts one larger request when the allowance is full, and then waits.
    expect((await use(person, 1_500_000)).status).toBe(201);
    const refused = await use(person, 1);
    expect([refused.status, refused.body.code, refused.headers['retry-after']]).toEqual([429, 'rate_limited', '31']);
    time += 31_000;
    expect((await use(person, 1)).status).toBe(201);
  });
});

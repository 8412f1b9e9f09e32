import { newId } from '../src/common/ids.js';
import { startTestApp, type TestApp } from './support/app.js';
import { type SignedInPerson, signUp } from './support/people.js';
import { addMember, createOrganization } from './support/tenants.js';

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
  const post = (body: unknown, caller: object = writer, path = '') =>
    t.http
      .post(`${organization.path}/usage${path}`)
      .set(caller)
      .send(body as object);
  const rowsOf = (ownerId: string) => t.db.rows('SELECT * FROM usage WHERE owner_id = $1 ORDER BY created_at, event_id', [ownerId]);

  it('stores what was used, and answers what is left', async () => {
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

  it('answers a batch event by event: a bad one spoils nothing', async () => {
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

  it('names the plan that would have let in what another period had no room for', async () => {
    const late = () => event({ inputTokens: 60_000, occurredAt: new Date(Date.now() - 86_400_000).toISOString() });
    await post(late()).expect(201);
    const { status, body } = await post(late());
    expect([status, body.plan]).toEqual([402, 'pro']);
  });
});

import { newId } from '../../src/platform/crypto/ids.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { type SignedInPerson, signUp, signUpOperator } from '../support/people.js';
import { createOrganization } from '../support/tenants.js';
import { PlanFile } from '../support/plan-file.js';
import { ledgerMismatches } from '../support/usage/ledger-checks.js';

const MOST = Number.MAX_SAFE_INTEGER;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

interface Problem {
  code?: string;
  errors?: { path: string; message: string }[];
  results?: { outcome: string; reason?: string; errors?: { path: string }[] }[];
  quota?: { used: number; held: number; overrun: number };
  id?: string;
}

/** Every invalid request is answered with 4xx, and names the field. */
describe('invalid usage', () => {
  const plans = new PlanFile({ free: { tokensPerPeriod: 1_000_000_000 }, pro: {}, business: { tokensPerPeriod: 100, tokenLimit: 'soft' } });
  let t: TestApp;
  let ada: SignedInPerson;
  let operator: SignedInPerson;
  let organizationId: string;
  beforeAll(async () => {
    t = await startTestApp({ PLANS_FILE: plans.path, USAGE_RETENTION_DAYS: '100' });
    [ada, operator] = await Promise.all([signUp(t), signUpOperator(t)]);
    organizationId = await newOrganization();
  });
  afterAll(async () => {
    await t.close();
    plans.remove();
  });

  const newOrganization = async () => (await createOrganization(t, ada)).id;
  const grant = async (id: string, tier: string) =>
    t.http.post('/v1/subscriptions').set(operator.auth).send({ organizationId: id, tier }).expect(201);
  /** Sends the exact text, which JSON.stringify may not produce. */
  const request = async (url: string, text?: string, method: 'POST' | 'DELETE' = 'POST') => {
    const headers = { ...ada.auth, 'content-type': 'application/json' };
    const answer = await fetch(`${t.url}${url}`, { method, headers, body: text });
    const content = await answer.text();
    return { status: answer.status, length: content.length, body: (content === '' ? {} : JSON.parse(content)) as Problem };
  };
  const sendText = async (text: string, path = '') => request(`/v1/organizations/${organizationId}/usage${path}`, text);
  const send = async (id: string, fields: object, path = '') =>
    request(`/v1/organizations/${id}/usage${path}`, JSON.stringify({ eventId: newId(), model: 'm', ...fields }));
  const hold = async (id: string, fields: object) => request(`/v1/organizations/${id}/usage/holds`, JSON.stringify(fields));
  const batch = async (id: string, events: unknown) => request(`/v1/organizations/${id}/usage/batch`, JSON.stringify({ events }));
  const event = (fields: object) => ({ eventId: newId(), model: 'm', ...fields });
  const pathsOf = ({ errors = [] }: { errors?: { path: string }[] }) => [...new Set(errors.map(({ path }) => path.split('.')[1]))];

  const INVALID_VALUES = [
    'null',
    'true',
    '""',
    '"x"',
    '"\\u0000"',
    '"\\ud800"',
    '-1',
    '0.5',
    '1e400',
    '-1e400',
    '9007199254740992',
    '9223372036854775808',
    '[]',
    '[[]]',
    '{}',
    '{"__proto__":{"a":1}}',
    '{"constructor":{"prototype":{}}}',
    '{"toString":1}',
    '{"\\ud800":1}',
    `"${'x'.repeat(10_000)}"`,
    `${'['.repeat(40)}${']'.repeat(40)}`,
    `${'{"a":'.repeat(40)}1${'}'.repeat(40)}`,
  ];
  /** The values that are valid for a field. */
  const VALID_VALUES = new Map([
    ['eventId', ['"x"']],
    ['model', ['"x"']],
    ['metadata', ['{}', '{"__proto__":{"a":1}}', '{"toString":1}']],
  ]);

  it.each(['eventId', 'model', 'userId', 'inputTokens', 'reasoningTokens', 'tokens', 'occurredAt', 'metadata', '__proto__', 'more'])(
    'is rejected as %s of an event, and the field is named',
    async (name) => {
      const wrong = INVALID_VALUES.filter((value) => !VALID_VALUES.get(name)?.includes(value));
      const given = { eventId: '"e"', model: '"m"', ...(!name.endsWith('okens') && { tokens: '1' }) };
      const texts = wrong.map((value) => {
        const fields = Object.entries(given).filter(([other]) => other !== name);
        return `{${[...fields, [name, value]].map(([key, text]) => `"${key}":${text}`).join(',')}}`;
      });
      const { body } = await sendText(`{"events":[${texts.join(',')}]}`, '/batch');
      for (const [index, text] of texts.entries()) {
        const { status, body: alone } = await sendText(text);
        const { outcome, reason, errors } = body.results![index]!;
        expect({ text, status, outcome, reason }).toEqual({ text, status: 400, outcome: 'rejected', reason: 'invalid' });
        expect({ text, alone: pathsOf(alone) }).toEqual({ text, alone: [name] });
        expect(errors!.every(({ path }) => path.startsWith(`body.events.${index}.${name}`))).toBe(true);
      }
    },
  );

  it.each(['estimatedTokens', 'holdId', 'model', 'userId', 'expiresInSeconds', '__proto__', 'more'])(
    'is rejected as %s of a hold, and the field is named',
    async (name) => {
      const wrong = INVALID_VALUES.filter((value) => name !== 'model' || value !== '"x"');
      for (const value of wrong) {
        const text = `{${name === 'estimatedTokens' ? '' : '"estimatedTokens":1,'}"${name}":${value}}`;
        const { status, body } = await sendText(text, '/holds');
        expect({ text, status, paths: pathsOf(body) }).toEqual({ text, status: 400, paths: [name] });
      }
    },
  );

  it.each([
    ...INVALID_VALUES,
    '{"events":null}',
    '{"events":{}}',
    '{"events":{"length":1}}',
    '{"events":"xx"}',
    '{"events":[]}',
    '',
    '{',
    'NaN',
  ])('is rejected as a body: %s', async (text) => {
    for (const path of ['', '/batch', '/holds', `/holds/${newId()}/settle`]) {
      const { status, length } = await sendText(text, path);
      expect({ path, status, isShort: length < 5000 }).toEqual({ path, status: 400, isShort: true });
    }
  });

  it('gets a short response, however large it is', async () => {
    const many = JSON.stringify(Object.fromEntries(Array.from({ length: 50_000 }, (_, index) => [`k${index}`, 1])));
    const fewer = JSON.stringify(Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`k${index}`, 1])));
    const few = [
      await sendText(many),
      await sendText(many, '/batch'),
      await sendText(`{"events":[${many}]}`, '/batch'),
      await sendText(`{"events":[${fewer}]}`, '/batch'),
      await sendText(many, '/holds'),
    ];
    expect(few.map(({ status, length }) => [status, length < 20_000])).toEqual([400, 400, 400, 200, 400].map((status) => [status, true]));
  });

  it('is rejected as a list of more than 1,000, and 1,000 events get 1,000 results', async () => {
    const events = Array.from({ length: 1001 }, () => event({ tokens: 1 }));
    expect((await batch(organizationId, events)).status).toBe(400);
    const { status, body } = await batch(organizationId, events.slice(1));
    expect([status, body.results!.filter(({ outcome }) => outcome === 'inserted').length]).toEqual([200, 1000]);
    const rubbish = await batch(
      organizationId,
      Array.from({ length: 1000 }, (_, index) => [null, [], 1, 'x', {}][index % 5]),
    );
    expect([rubbish.status, rubbish.body.results!.every(({ reason }) => reason === 'invalid')]).toEqual([200, true]);
  });

  it('is not found as a hold', async () => {
    for (const id of ['x', '1', '%00', "'", '00000000-0000-0000-0000-00000000000g', `${newId()}x`]) {
      const path = `/v1/organizations/${organizationId}/usage/holds/${encodeURIComponent(id)}`;
      const event1 = JSON.stringify(event({ tokens: 1 }));
      expect([400, 404]).toContain((await request(path, undefined, 'DELETE')).status);
      expect([400, 404]).toContain((await request(`${path}/settle`, event1)).status);
      expect([400, 404]).toContain((await request(`/v1/organizations/${encodeURIComponent(id)}/usage`, event1)).status);
    }
    for (const id of [newId(), newId().toUpperCase(), '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff']) {
      const path = `/v1/organizations/${organizationId}/usage/holds/${id}`;
      expect((await request(path, undefined, 'DELETE')).status).toBe(404);
      expect((await request(`${path}/settle`, JSON.stringify(event({ tokens: 1 })))).status).toBe(404);
    }
  });

  it('is not found as a hold of another owner', async () => {
    const other = await newOrganization();
    const { body } = await hold(other, { estimatedTokens: 5 });
    expect((await request(`/v1/organizations/${organizationId}/usage/holds/${body.id}`, undefined, 'DELETE')).status).toBe(404);
    expect((await request(`/v1/usage/holds/${body.id}`, undefined, 'DELETE')).status).toBe(404);
    expect((await send(other, { tokens: 0 })).body.quota).toMatchObject({ held: 5 });
  });

  describe('a time', () => {
    it.each([
      ['9999-12-31T23:59:59.999Z', 'ahead'],
      ['1970-01-01T00:00:00Z', 'retention'],
      [new Date(Date.now() - 101 * DAY_MS).toISOString(), 'retention'],
      [new Date(Date.now() + 6 * 60_000).toISOString(), 'ahead'],
    ])('of %s is too far %s', async (occurredAt, where) => {
      const { status, body } = await send(organizationId, { tokens: 1, occurredAt });
      expect(status).toBe(400);
      expect(body.errors).toEqual([{ path: 'body.occurredAt', message: expect.stringContaining(where) as string }]);
    });

    it.each([
      '0000-01-01T00:00:00Z',
      '0001-01-01T00:00:00Z',
      '0099-01-01T00:00:00Z',
      '1969-12-31T23:59:59Z',
      '10000-01-01T00:00:00Z',
      '+275760-09-13T00:00:00.000Z',
      '2026-02-29T00:00:00Z',
      '2016-12-31T23:59:60Z',
    ])('of %s is invalid', async (occurredAt) => {
      expect((await send(organizationId, { tokens: 1, occurredAt })).body.errors).toEqual([
        { path: 'body.occurredAt', message: 'occurredAt must be a time as in 2026-01-01T00:00:00Z, from 1970 to 9999' },
      ]);
    });

    it('at any edge of an hour, month and period and in any zone counts in its own one', async () => {
      const id = await newOrganization();
      const month = new Date();
      month.setUTCDate(1);
      month.setUTCHours(0, 0, 0, 0);
      const edges = [-1, 0, 1].map((ms) => new Date(month.getTime() + ms).toISOString());
      const others = [Date.now() - 99 * DAY_MS, Date.now() + 4 * 60_000].map((ms) => new Date(ms).toISOString());
      const { body } = await batch(
        id,
        [...edges, ...others, edges[0]!.replace('Z', '+00:00')].map((occurredAt) => event({ tokens: 1, occurredAt })),
      );
      expect(body.results!.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 6 }, () => 'inserted'));
      expect(await ledgerMismatches(t.db)).toEqual([]);
    });
  });

  describe('a sum that is too large', () => {
    it('is rejected in a period, and events that fit are recorded', async () => {
      const id = await newOrganization();
      await grant(id, 'pro');
      const { body } = await batch(
        id,
        [MOST, 1, 0, MOST].map((tokens) => event({ tokens })),
      );
      expect(body.results!.map(({ outcome, reason }) => reason ?? outcome)).toEqual([
        'inserted',
        'count_too_large',
        'inserted',
        'count_too_large',
      ]);
      expect(body.quota).toMatchObject({ used: MOST });
      expect((await send(id, { tokens: 1 })).status).toBe(400);
      expect((await hold(id, { estimatedTokens: 1 })).status).toBe(400);
      expect((await hold(id, { estimatedTokens: 0 })).status).toBe(201);
      expect(await ledgerMismatches(t.db)).toEqual([]);
    });

    it('is rejected in a period with a soft limit', async () => {
      const id = await newOrganization();
      await grant(id, 'business');
      expect((await send(id, { tokens: MOST - 1 })).status).toBe(201);
      expect((await send(id, { tokens: 2 })).status).toBe(400);
      expect((await send(id, { tokens: 1 })).status).toBe(201);
    });

    it('is possible in an hour rollup over several periods', async () => {
      const id = await newOrganization();
      await grant(id, 'pro');
      expect((await send(id, { tokens: MOST })).status).toBe(201);
      await grant(id, 'business');
      // In the last whole hour: before the grant, in a period of the free plan, and after it.
      const hour = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - HOUR_MS;
      const [before, grantedAt, after] = [20, 30, 40].map((minute) => new Date(hour + minute * 60_000).toISOString());
      await t.db.rows(`UPDATE subscriptions SET started_at = $2 WHERE owner_id = $1`, [id, grantedAt]);
      const events = [event({ tokens: MOST, occurredAt: after }), event({ tokens: MOST, occurredAt: before })];
      const { status, body } = await batch(id, events);
      expect([status, body.results!.map(({ outcome, reason }) => reason ?? outcome)]).toEqual([200, ['inserted', 'inserted']]);
      const sums = 'SELECT sum(tokens_used)::text AS tokens, count(*)::int AS rows FROM usage_rollups WHERE owner_id = $1 AND hour = $2';
      expect(await t.db.rows(sums, [id, new Date(hour)])).toEqual([{ tokens: String(2n * BigInt(MOST)), rows: 1 }]);
      expect((await send(id, { tokens: 0 })).status).toBe(201);
    });

    it('can be settled when it was held', async () => {
      const id = await newOrganization();
      await grant(id, 'pro');
      const { body } = await hold(id, { estimatedTokens: MOST });
      expect((await hold(id, { estimatedTokens: 1 })).status).toBe(400);
      const settled = await send(id, { tokens: MOST }, `/holds/${body.id}/settle`);
      expect([settled.status, settled.body.quota]).toMatchObject([201, { used: MOST, held: 0, overrun: 0 }]);
      const other = await hold(id, { estimatedTokens: 0 });
      expect((await send(id, { tokens: 1 }, `/holds/${other.body.id}/settle`)).status).toBe(400);
      expect((await send(id, { tokens: 0 }, `/holds/${other.body.id}/settle`)).status).toBe(201);
      expect(await ledgerMismatches(t.db)).toEqual([]);
    });
  });

  it('is not reached by holds of zero tokens, with the shortest and the longest time', async () => {
    for (const [expiresInSeconds, status] of [
      [0, 400],
      [1, 201],
      [86_400, 201],
      [86_401, 400],
    ])
      expect((await hold(organizationId, { estimatedTokens: 0, expiresInSeconds })).status).toBe(status);
  });

  describe('numbers and keys that JSON parsing would change', () => {
    const texts: [string, string][] = [
      ...['12345678901234567890', '9007199254740993', '1e400', '-1e400', '1e-400', '0.1234567890123456789'].map(
        (number): [string, string] => [`"metadata":{"order":${number}}`, 'metadata.order'],
      ),
      ['"metadata":{"__proto__":"a"}', 'metadata.__proto__'],
      ['"inputTokens":9007199254740993', 'inputTokens'],
      ['"inputTokens":1.00000000000000000001', 'inputTokens'],
    ];
    it.each(texts)('are rejected: %s', async (field, name) => {
      const text = (eventId: string) => `{"eventId":"${eventId}","model":"m","outputTokens":1,${field}}`;
      const { status, body } = await sendText(text('changed'));
      expect([status, body.errors?.map(({ path }) => path)]).toEqual([400, [`body.${name}`]]);
      const { body: batched } = await sendText(`{"events":[${text('changed')},{"eventId":"${newId()}","model":"m","tokens":1}]}`, '/batch');
      expect(batched.results).toMatchObject([
        { outcome: 'rejected', reason: 'invalid', errors: [{ path: `body.events.0.${name}` }] },
        { outcome: 'inserted' },
      ]);
    });

    it('are stored when nothing is lost', async () => {
      const id = await newOrganization();
      const metadata =
        '{"a":0.30000000000000004,"b":12345678901234567000,"constructor":"c","prototype":1,"toString":true,"id":"12345678901234567890"}';
      const answer = await request(`/v1/organizations/${id}/usage`, `{"eventId":"kept","model":"m","tokens":1,"metadata":${metadata}}`);
      expect(answer.status).toBe(201);
      const [row] = await t.db.rows<{ metadata: object }>('SELECT metadata FROM usage WHERE owner_id = $1', [id]);
      expect(row!.metadata).toEqual(JSON.parse(metadata));
      const records = await fetch(`${t.url}/v1/organizations/${id}/usage`, { headers: ada.auth });
      expect(((await records.json()) as { data: { metadata: object }[] }).data[0]!.metadata).toEqual(JSON.parse(metadata));
    });

    it('use the last value of a repeated key', async () => {
      const id = await newOrganization();
      await request(`/v1/organizations/${id}/usage`, '{"eventId":"twice","model":"m","tokens":1,"metadata":{"a":1,"a":2}}');
      expect(await t.db.rows('SELECT metadata FROM usage WHERE owner_id = $1', [id])).toEqual([{ metadata: { a: 2 } }]);
    });
  });

  it('stores metadata unchanged', async () => {
    const id = await newOrganization();
    const metadata = { 'a"b\\c': "d'e,{}\n\t", NULL: 'NULL', ö: '\u{1f600}', n: -1.5e-7, big: 1e308, yes: true, '': undefined };
    expect((await send(id, { tokens: 1, metadata, eventId: 'NULL' })).status).toBe(201);
    const { '': _, ...kept } = metadata;
    expect(await t.db.rows('SELECT event_id, metadata FROM usage WHERE owner_id = $1', [id])).toEqual([
      { event_id: 'NULL', metadata: kept },
    ]);
  });
});

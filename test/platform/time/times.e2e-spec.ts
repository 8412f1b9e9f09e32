import { readFileSync } from 'node:fs';
import { newId } from '../../../src/platform/crypto/ids.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { type SignedInPerson, signUpOperator } from '../../support/people.js';
import { createOrganization } from '../../support/tenants.js';

interface Schema {
  $ref?: string;
  format?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
}
interface Operation {
  operationId: string;
  parameters?: { in: string; name: string; schema: Schema }[];
  requestBody?: { content: Record<string, { schema: Schema }> };
}
interface Target {
  id: string;
  method: string;
  path: string;
  field: string;
  place: string;
}

const document = JSON.parse(readFileSync('openapi.json', 'utf8')) as {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
};

/** Paths of date-time properties, such as `prices.0.effectiveFrom`. */
function timesIn({ $ref, format, properties, items }: Schema): string[] {
  if ($ref !== undefined) return timesIn(document.components.schemas[$ref.split('/').at(-1)!]!);
  if (items !== undefined) return timesIn(items).map((name) => (name === '' ? '0' : `0.${name}`));
  if (properties === undefined) return format === 'date-time' ? [''] : [];
  return Object.entries(properties).flatMap(([name, schema]) => timesIn(schema).map((rest) => (rest === '' ? name : `${name}.${rest}`)));
}

const targets: Target[] = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).flatMap(([method, { operationId: id, parameters = [], requestBody }]) => [
    ...parameters
      .filter(({ schema }) => schema.format === 'date-time')
      .map(({ name, in: place }) => ({ id, method: method.toUpperCase(), path, field: name, place })),
    ...timesIn(requestBody?.content['application/json']?.schema ?? {}).map((field) => ({
      id,
      method: method.toUpperCase(),
      path,
      field,
      place: 'body',
    })),
  ]),
);

const NEVER_TIMES = [
  '0000-01-01T00:00:00Z',
  '0001-01-01T00:00:00Z',
  '0050-01-01T00:00:00Z',
  '0099-12-31T23:59:59Z',
  '1969-12-31T23:59:59Z',
  '10000-01-01T00:00:00Z',
  '+275760-09-13T00:00:00Z',
  '-271821-04-20T00:00:00Z',
  '9999-12-31T23:59:59-14:00',
  '2026-02-30T00:00:00Z',
  '2026-01-01T00:00:00',
  '2026-01-01T24:00:00Z',
  '1',
  'infinity',
  'now',
  '',
];
const TIMES = [
  '1970-01-01T00:00:00Z',
  '1970-01-01T14:00:00+14:00',
  '1970-01-01',
  '9999-12-31',
  '9999-12-31T23:59:59.999Z',
  '9999-12-31T23:00:00Z',
];

describe('times in requests', () => {
  let t: TestApp;
  let operator: SignedInPerson;
  let organization: { id: string };
  beforeAll(async () => {
    t = await startTestApp();
    operator = await signUpOperator(t);
    organization = await createOrganization(t, operator);
  });
  afterAll(() => t.close());

  /** A body that is valid except for the time under test. */
  const bodyOf = (target: Target): object => {
    const event = { eventId: newId(), model: 'm', tokens: 1 };
    const bodies: Record<string, object> = {
      createApiKey: { name: 'k', scopes: ['usage:read'] },
      grantSubscription: { tier: 'pro', organizationId: organization.id },
      setPrices: { prices: [{ model: 'm', tokenClass: 'input', microsPerMillion: 1 }] },
      replayWebhookEvents: { status: 'dead' },
    };
    return bodies[target.id] ?? (target.path.endsWith('/batch') ? { events: [event] } : event);
  };

  const holdFor = async ({ path }: Target): Promise<string> => {
    if (!path.includes('{holdId}')) return '';
    const url = path.replace('{organizationId}', organization.id).replace(/\/\{holdId\}.*/, '');
    const { body } = await t.http.post(url).set(operator.auth).send({ estimatedTokens: 1 }).expect(201);
    return body.id as string;
  };

  async function send(target: Target, value: unknown) {
    const path = target.path.replace('{organizationId}', organization.id).replace('{holdId}', await holdFor(target));
    const body = bodyOf(target);
    if (target.place === 'body') {
      const names = target.field.split('.');
      const last = names.pop()!;
      const parent = names.reduce<Record<string, unknown>>((outer, name) => outer[name] as Record<string, unknown>, body as never);
      parent[last] = value;
    }
    const query = target.place === 'query' ? `?${target.field}=${encodeURIComponent(String(value))}` : '';
    const answer = await fetch(`${t.url}${path}${query}`, {
      method: target.method,
      headers: { ...operator.auth, 'content-type': 'application/json' },
      body: target.place === 'body' ? JSON.stringify(body) : undefined,
    });
    const text = await answer.text();
    const isJson = answer.headers.get('content-type')?.includes('json') === true;
    return { status: answer.status, body: (isJson ? JSON.parse(text) : {}) as Answer };
  }

  it('are found in the document', () => {
    expect(targets.length).toBeGreaterThan(20);
    expect(new Set(targets.map(({ field }) => field))).toEqual(
      new Set([
        'createdFrom',
        'createdBefore',
        'receivedFrom',
        'receivedBefore',
        'from',
        'to',
        'at',
        'expiresAt',
        'endsAt',
        'prices.0.effectiveFrom',
        'occurredAt',
        'events.0.occurredAt',
      ]),
    );
  });

  it.each(targets)('are rejected by name when they are invalid: $id, $field', async (target) => {
    for (const value of [...NEVER_TIMES, ...(target.place === 'body' ? [0, true, [], {}] : [])]) {
      const { status, body } = await send(target, value);
      // An item of a batch has its own result.
      const { errors } = body.results?.[0] ?? body;
      expect([value, status, errors?.map(({ path }) => path)]).toEqual([
        value,
        body.results ? 200 : 400,
        [`${target.place}.${target.field}`],
      ]);
    }
  });

  it.each(targets)('never cause a 5xx at the limits: $id, $field', async (target) => {
    for (const value of TIMES) expect((await send(target, value)).status).toBeLessThan(500);
  });
});

interface Answer {
  errors?: { path: string }[];
  results?: { errors?: { path: string }[] }[];
}

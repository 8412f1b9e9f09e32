import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { startTestApp, type TestApp } from '../../support/app.js';
import { type SignedInPerson, signUpOperator } from '../../support/people.js';
import { createOrganization } from '../../support/tenants.js';
import { PlanFile } from '../../support/plan-file.js';

interface Schema {
  $ref?: string;
  allOf?: Schema[];
  type?: string | string[];
  enum?: unknown[];
  properties?: Record<string, Schema>;
  required?: string[];
}
interface Media {
  schema: Schema;
  example?: object;
  examples?: Record<string, unknown>;
}
interface Operation {
  operationId: string;
  parameters?: { in: string; name: string; schema: Schema }[];
  requestBody?: { content: Record<string, Media> };
  responses: Record<string, { $ref?: string; content?: Record<string, Media> }>;
}

const document = JSON.parse(readFileSync('openapi.json', 'utf8')) as {
  paths: Record<string, Record<string, Operation>>;
  components: {
    schemas: Record<string, Schema>;
    responses: Record<string, { content: Record<string, Media> }>;
    securitySchemes: Record<string, object>;
  };
};
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ id: operation.operationId, path, method: method.toUpperCase(), operation })),
);
function schemaOf({ $ref, allOf, ...schema }: Schema): Schema {
  if (allOf !== undefined) return schemaOf(allOf[0]!);
  return $ref === undefined ? schema : document.components.schemas[$ref.split('/').at(-1)!]!;
}
const isNullable = ({ type, enum: values }: Schema) => (Array.isArray(type) && type.includes('null')) || values?.includes(null) === true;

const queries = operations.flatMap(({ operation, ...one }) =>
  (operation.parameters ?? []).filter((parameter) => parameter.in === 'query').map(({ name, schema }) => ({ ...one, name, schema })),
);
/** Optional fields that are not nullable according to the document. */
const fields = operations.flatMap(({ operation, ...one }) => {
  const { properties = {}, required = [] } = schemaOf(operation.requestBody?.content['application/json']?.schema ?? {});
  const names = Object.entries(properties).filter(([name, schema]) => !required.includes(name) && !isNullable(schema));
  return names.map(([name]) => ({ ...one, name }));
});

describe('the document and the behavior', () => {
  // A plan without the feature of a route would refuse the request before its body is read.
  const shipped = JSON.parse(readFileSync('plans.json', 'utf8')) as { plans: Record<string, { limits: { features: string[] } }> };
  const features = [...new Set(Object.values(shipped.plans).flatMap(({ limits }) => limits.features))];
  const plans = new PlanFile({ free: { tokensPerPeriod: 1, features }, pro: {}, business: {} });
  let t: TestApp;
  let operator: SignedInPerson;
  let organizationId: string;
  beforeAll(async () => {
    t = await startTestApp({ PLANS_FILE: plans.path });
    operator = await signUpOperator(t);
    organizationId = (await createOrganization(t, operator)).id;
  });
  afterAll(async () => {
    await t.close();
    plans.remove();
  });

  async function send(
    { path, method }: { path: string; method: string },
    { query = '', body, headers = operator.auth }: { query?: string; body?: object; headers?: object },
  ) {
    const filled = path.replace('{organizationId}', organizationId).replaceAll(/\{\w*(id|Id)\}/g, () => randomUUID());
    const answer = await fetch(`${t.url}${filled.replaceAll(/\{\w+\}/g, 'x')}${query}`, {
      method,
      redirect: 'manual',
      headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    const { code, errors = [] } = (/json/.test(answer.headers.get('content-type') ?? '') ? JSON.parse(text) : {}) as {
      code?: string;
      errors?: { path: string; message: string }[];
    };
    return { status: answer.status, code, errors };
  }

  it.each(fields)('agree that $name of $id is never null', async ({ name, ...one }) => {
    const { status, errors } = await send(one, { body: { [name]: null } });
    const refused = status === 400 && errors.some(({ path }) => path === `body.${name}`);
    expect(refused ? 'refused' : `status ${status}: use @ValidateIf(whenGiven), because @IsOptional() accepts null`).toBe('refused');
  });

  it.each(queries)('agree that $name of $id is given once', async ({ name, ...one }) => {
    const { status, errors } = await send(one, { query: `?${name}=1&${name}=2` });
    expect([status, errors]).toEqual([400, [{ path: `query.${name}`, message: `${name} was given more than once` }]]);
  });

  it.each(queries.filter(({ schema }) => schema.type === 'integer'))(
    'agree that $name of $id is written in digits',
    async ({ name, ...one }) => {
      for (const value of ['0x10', '0b1', '1e1', '1.0', '%201', '1%20', '%2B1', '', 'Infinity', '９', '9'.repeat(20), '1_0']) {
        const { status, errors } = await send(one, { query: `?${name}=${value}` });
        expect([value, status, errors[0]?.path]).toEqual([value, 400, `query.${name}`]);
      }
      expect((await send(one, { query: `?${name}=010` })).status).toBe(200);
    },
  );

  it('agree on the refusal of a cross-site request with a cookie', async () => {
    const posts = operations.filter(
      ({ path, method, operation }) => method === 'POST' && path.startsWith('/v1/auth/') && operation.requestBody !== undefined,
    );
    expect(posts.length).toBeGreaterThan(5);
    const refused = [];
    for (const { id, operation, ...one } of posts) {
      const example = operation.requestBody!.content['application/json']?.example;
      if (example === undefined) continue;
      const headers = { cookie: operator.cookie, origin: 'https://evil.example' };
      const { status, code } = await send(one, { body: example, headers });
      if (code === 'untrusted_origin') refused.push(id);
      const { $ref, content } = operation.responses[String(status)] ?? {};
      const media = Object.values(content ?? document.components.responses[$ref?.split('/').at(-1) ?? '']?.content ?? {})[0];
      expect([id, status, Object.keys(media?.examples ?? {})]).toEqual([id, status, expect.arrayContaining(status < 400 ? [] : [code])]);
    }
    expect(refused).toEqual(expect.arrayContaining(['signIn', 'resetPassword', 'changePassword']));
  });

  it('call no token a JWT', () => {
    expect(JSON.stringify(document.components.securitySchemes)).not.toContain('JWT');
  });

  it('agree on the fields of a quota refusal', async () => {
    const { body } = await t.http
      .post(`/v1/organizations/${organizationId}/usage`)
      .set(operator.auth)
      .send({ eventId: 'much', model: 'm', tokens: 2 })
      .expect(402);
    const media =
      Object.values(document.paths['/v1/organizations/{organizationId}/usage']!['post']!.responses['402']!.content ?? {})[0] ??
      Object.values(document.components.responses['quota_exceeded']!.content)[0]!;
    const { properties = {} } = schemaOf(media.schema);
    expect(Object.keys(properties)).toEqual(expect.arrayContaining(Object.keys(body as object)));
    expect(Object.keys(schemaOf(properties['quota']!).properties ?? {}).toSorted()).toEqual(
      Object.keys((body as { quota: object }).quota).toSorted(),
    );
    expect(isNullable(properties['plan']!)).toBe(true);
  });
});

import { brotliCompressSync, gzipSync } from 'node:zlib';
import { type Operation, readOperations } from '../../support/api.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { type SignedInPerson, signUp, signUpOperator } from '../../support/people.js';
import { createOrganization } from '../../support/tenants.js';

const MEBIBYTE = 1024 * 1024;
/** Room for 20 errors with paths and messages of bounded length. */
const SHORT = 16_000;

interface Answer {
  status: number;
  text: string;
  body: { code?: string; detail?: string; errors?: { path: string; message: string }[] };
}

/** Values that are expensive to process. */
const GREEDY: Record<string, string> = {
  'a mebibyte of lists': `[${repeated('[],', MEBIBYTE - 100).slice(0, -1)}]`,
  'a mebibyte of objects': `[${repeated('{},', MEBIBYTE - 100).slice(0, -1)}]`,
  'a mebibyte of numbers': `[${repeated('1,', MEBIBYTE - 100).slice(0, -1)}]`,
  'lists in lists': `${'['.repeat(500_000)}${']'.repeat(500_000)}`,
  'objects in objects': `${'{"a":'.repeat(170_000)}1${'}'.repeat(170_000)}`,
  '100,000 names': `{${Array.from({ length: 100_000 }, (_, index) => `"${index}":1`).join(',')}}`,
  'a list of 1,900 lists': `[${repeated('[],', 1900 * 3).slice(0, -1)}]`,
  'a list of 1,900 objects': `[${repeated('{},', 1900 * 3).slice(0, -1)}]`,
  'a list of 900 objects': `[${repeated('{},', 900 * 3).slice(0, -1)}]`,
  'a list of 900 texts': `[${repeated('"x",', 900 * 4).slice(0, -1)}]`,
  'a long text': `"${'x'.repeat(MEBIBYTE - 100)}"`,
  'a long name': `{"${'x'.repeat(MEBIBYTE - 100)}":1}`,
};

function repeated(text: string, bytes: number): string {
  return text.repeat(Math.floor(bytes / text.length));
}

describe('a body that is expensive to process', () => {
  let t: TestApp;
  let operator: SignedInPerson;
  let organizationId: string;
  let operations: Operation[];
  beforeAll(async () => {
    t = await startTestApp({ GOOGLE_CLIENT_ID: 'id', GOOGLE_CLIENT_SECRET: 'secret' });
    operator = await signUpOperator(t);
    organizationId = (await createOrganization(t, operator)).id;
    operations = (await readOperations(t.url)).filter(({ requestFields }) => requestFields.length > 0);
  });
  afterAll(() => t.close());

  const send = async (
    path: string,
    body: string | Buffer,
    { method = 'POST', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
  ): Promise<Answer> => {
    const answer = await fetch(`${t.url}${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      body: body as string,
    });
    const text = await answer.text();
    return { status: answer.status, text, body: text === '' ? {} : (JSON.parse(text) as Answer['body']) };
  };
  const expectShort = (what: string, { status, text, body }: Answer) => {
    expect({ what, status }).toEqual({ what, status: 400 });
    expect({ what, isShort: text.length < SHORT, few: (body.errors ?? []).length <= 20 }).toEqual({ what, isShort: true, few: true });
  };

  it.each(Object.keys(GREEDY))('gets a short refusal on every route and in every field: %s', async (name) => {
    const value = GREEDY[name]!;
    const isLong = value.length > 10_000;
    // Counting values does not depend on the route, so the long values go to a sample of the routes.
    for (const { method, path, requestFields } of operations.filter((_, index) => !isLong || index % 6 === 0)) {
      const url = path.replace('{organizationId}', organizationId).replaceAll(/\{\w+\}/g, '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182');
      const fields = isLong ? requestFields.slice(0, 1) : [...requestFields, 'unknown'];
      for (const field of fields) {
        const answer = await send(url, `{"${field}":${value}}`, { method, headers: operator.auth });
        // Each event of a batch has its own result.
        if (field === 'events' && answer.status === 200) continue;
        expectShort(`${method} ${path} ${field}`, answer);
      }
    }
  });

  it.each(Object.keys(GREEDY))('gets a short refusal as a whole body: %s', async (name) => {
    for (const path of ['/v1/auth/sign-up/email', '/v1/auth/sign-in/email', '/v1/auth/sign-in/social', '/v1/auth/reset-password'])
      expectShort(path, await send(path, GREEDY[name]!));
  });

  it.each([...Object.keys(GREEDY).slice(0, 6), 'a list of 1,900 lists'])('is rejected before it is parsed: %s', async (name) => {
    const { body } = await send('/v1/auth/sign-in/social', `{"provider":"google","idToken":${GREEDY[name]!}}`);
    expect(body.errors).toEqual([{ path: 'body', message: 'body must not have more than 2000 values' }]);
    const batch = await send('/v1/usage/batch', `{"events":[{"eventId":${GREEDY[name]!}}]}`, { headers: operator.auth });
    const isSmall = GREEDY[name]!.length < 10_000;
    expect([batch.status, batch.body.errors?.[0]?.message]).toEqual(
      isSmall ? [200, undefined] : [400, 'body must not have more than 40000 values'],
    );
  });

  it('gets one error for a list instead of an object', async () => {
    for (const idToken of [[], [{}], Array.from({ length: 300 }, () => ({ token: 1 })), [[{ token: 'x' }]]]) {
      const { status, body } = await send('/v1/auth/sign-in/social', JSON.stringify({ provider: 'google', idToken }));
      expect([status, body.errors]).toEqual([400, [{ path: 'body.idToken', message: 'idToken must be an object' }]]);
    }
  });

  it('gets one error for a list of lists instead of a list of objects', async () => {
    const prices = [Array.from({ length: 500 }, () => ({})), []];
    const { status, body } = await send('/v1/prices', JSON.stringify({ prices }), { method: 'PUT', headers: operator.auth });
    expect([status, body.errors]).toEqual([400, [{ path: 'body.prices', message: 'each value in prices must be an object' }]]);
  });

  it('gets the first twenty errors, with long names shortened', async () => {
    const fields = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`${'made up '.repeat(100)}${index}`, 1]));
    const { status, body, text } = await send('/v1/auth/sign-in/email', JSON.stringify(fields));
    expect([status, body.errors!.length]).toEqual([400, 20]);
    expect(text.length).toBeLessThan(SHORT);
  });

  it('does not count as a batch because its URL contains the word', async () => {
    const names = Array.from({ length: 30_000 }, (_, index) => `"k${index}":1`).join(',');
    for (const path of ['/v1/auth/sign-in/social?/usage/batch', '/v1/auth/sign-in/social?x=/v1/usage/batch', '/x/v1/usage/batch']) {
      const { status, body } = await send(path, `{"provider":"google",${names}}`);
      expect({ path, status, errors: body.errors }).toEqual({
        path,
        status: 400,
        errors: [{ path: 'body', message: 'body must not have more than 2000 values' }],
      });
    }
  });

  it.each([101, 5000, 19_000])('does not overflow the stack as a batch of %d levels', async (levels) => {
    for (const nested of [
      `{"events":${'['.repeat(levels)}${']'.repeat(levels)}}`,
      `{"events":[${'{"metadata":'.repeat(levels)}1${'}'.repeat(levels)}]}`,
    ]) {
      const { status, body } = await send('/v1/usage/batch', nested, { headers: operator.auth });
      expect({ status, code: body.code }).toEqual({ status: 400, code: 'invalid_request' });
    }
  });

  it.each(['/v1/auth/sign-in/social', '/v1/auth/sign-in/email', '/webhooks/clerk', '/v1/usage', '/v1/usage/batch'])(
    'is rejected when it is compressed: %s',
    async (path) => {
      const bomb = `{"provider":"google","idToken":${GREEDY['a mebibyte of objects']!}}`;
      for (const [encoding, packed] of [
        ['br', brotliCompressSync(bomb)],
        ['gzip', gzipSync('{}')],
        ['zstd', Buffer.from('{}')],
        ['compress', Buffer.from('{}')],
      ] as const) {
        const answer = await fetch(`${t.url}${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'content-encoding': encoding, ...operator.auth },
          body: packed,
        });
        expect(await answer.json()).toMatchObject({
          status: 415,
          code: 'unsupported_media_type',
          detail: 'Send the body without Content-Encoding. Compressed bodies are not accepted.',
        });
        expect(answer.headers.get('accept-encoding')).toBe('identity');
      }
    },
  );

  it('is rejected in another encoding than UTF-8', async () => {
    for (const charset of ['utf-16', 'utf-16le', 'utf-32', 'utf-7', 'latin1', '"utf-16"']) {
      const headers = { 'content-type': `application/json; charset=${charset}` };
      const { status } = await send('/v1/auth/sign-in/email', Buffer.from(GREEDY['a mebibyte of lists']!, 'utf16le'), { headers });
      expect({ charset, status }).toEqual({ charset, status: 415 });
    }
  });

  it('may contain 200 prices, and 1,000 events with all fields', async () => {
    const person = await signUp(t);
    const price = (index: number) => ({
      model: `model-${index}`,
      tokenClass: 'input',
      microsPerMillion: 1,
      currency: 'USD',
      effectiveFrom: '2026-01-01T00:00:00Z',
    });
    const prices = Array.from({ length: 200 }, (_, index) => price(index));
    expect((await send('/v1/prices', JSON.stringify({ prices }, undefined, 2), { method: 'PUT', headers: operator.auth })).status).toBe(
      200,
    );

    const metadata = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`name-${index}`, `value, [${index}]`]));
    const events = Array.from({ length: 1000 }, (_, index) => ({
      eventId: `event-${index}`,
      userId: person.id,
      model: 'm',
      inputTokens: 1,
      outputTokens: 0,
      cachedInputTokens: 0,
      reasoningTokens: 0,
      occurredAt: new Date().toISOString(),
      metadata,
    }));
    const { status, text } = await send('/v1/usage/batch', JSON.stringify({ events }), { headers: person.auth });
    expect([status, text.match(/"inserted"/g)?.length]).toEqual([200, 1000]);
  });

  it('gets a result for each item of a batch, and a short response', async () => {
    const worst = Object.fromEntries(Array.from({ length: 35 }, (_, index) => [`unknown ${index} ${'x'.repeat(100)}`, 1]));
    const named = { eventId: 'y'.repeat(9000), metadata: Object.fromEntries(Array.from({ length: 25 }, (_, index) => [`m${index}`, []])) };
    const events = Array.from({ length: 200 }, (_, index) =>
      index % 2 === 0 ? worst : { ...named, eventId: index === 1 ? named.eventId : 'e' },
    );
    const { status, text } = await send('/v1/usage/batch', JSON.stringify({ events }), { headers: operator.auth });
    const { results } = JSON.parse(text) as { results: { eventId: string; outcome: string; errors: object[] }[] };
    expect([status, results.length]).toEqual([200, 200]);
    expect(results.every(({ outcome, errors }) => outcome === 'rejected' && errors.length >= 1 && errors.length <= 3)).toBe(true);
    expect(results[1]!.eventId).toHaveLength(200);
    expect(text.length).toBeLessThan(200 * 1000);
  });
});

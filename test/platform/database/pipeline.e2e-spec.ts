import { readFileSync } from 'node:fs';
import net from 'node:net';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { startTestApp, type TestApp } from '../../support/app.js';
import { PASSWORD, signUp, signUpOperator, type SignedInPerson } from '../../support/people.js';

interface Operation {
  method: string;
  path: string;
  id: string;
}

const document = JSON.parse(readFileSync('openapi.json', 'utf8')) as { paths: Record<string, Record<string, { operationId: string }>> };
const operations: Operation[] = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, { operationId }]) => ({ method: method.toUpperCase(), path, id: operationId })),
);

describe('the request pipeline', () => {
  let t: TestApp;
  let person: SignedInPerson;
  let operator: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp({ TRUSTED_ORIGINS: 'https://app.example.com' });
    person = await signUp(t);
    operator = await signUpOperator(t);
  });
  afterAll(() => t.close());

  /** Sends exactly these bytes, and returns everything that is received until the server closes. */
  async function raw(text: string): Promise<string> {
    const { hostname, port } = new URL(t.url);
    return new Promise((resolve, reject) => {
      const socket = net.connect(Number(port), hostname, () => socket.write(text));
      let answer = '';
      socket.setTimeout(10_000, () => socket.destroy(new Error(`no end after: ${answer}`)));
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
      // The server may reset the connection after a 431.
      socket.on('error', (error) => (answer === '' ? reject(error) : resolve(answer)));
      socket.on('close', () => resolve(answer));
    });
  }
  const rawRequest = (line: string, headers: Record<string, string> = {}, body = '') =>
    raw(
      [
        `${line} HTTP/1.1`,
        'Host: localhost',
        'Connection: close',
        ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
        '',
        body,
      ].join('\r\n'),
    );
  const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);

  const patch = (body: string | Buffer, type = 'application/json') =>
    t.http
      .patch('/v1/users/me')
      .set(person.auth)
      .set('content-type', type)
      .serialize((sent) => sent as string)
      .send(body as string);
  const isProblem = (answer: { body: Record<string, unknown>; headers: Record<string, string> }, status: number, code: string) => {
    expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8');
    expect(answer.body).toMatchObject({ type: `https://tenantry.dev/problems/${code}`, status, code });
    expect(answer.body['title']).toEqual(expect.stringMatching(/^[A-Z][A-Za-z ]+$/));
    expect(answer.body['detail']).toEqual(expect.stringMatching(/\.$/));
    expect(answer.body['requestId']).toBe(answer.headers['x-request-id']);
  };

  describe('request bodies', () => {
    it.each(['{', '{"name":}', "{'name':'x'}", '{"name":"x"}}', '\u0000', 'undefined', '{"name":"x",}'])(
      'with malformed JSON are rejected: %j',
      async (body) => {
        isProblem(await patch(body).expect(400), 400, 'malformed_body');
      },
    );

    it.each(['null', '[]', '1', '"text"', 'true', '[{"name":"x"}]', '[[]]'])(
      'with JSON that is not an object are rejected: %s',
      async (body) => {
        const answer = await patch(body).expect(400);
        isProblem(answer, 400, 'invalid_request');
        expect(answer.body.errors).toEqual([{ path: 'body', message: 'body must be an object' }]);
      },
    );

    it('that are empty count as empty objects', async () => {
      await t.http.patch('/v1/users/me').set(person.auth).expect(200);
      await t.http.patch('/v1/users/me').set(person.auth).set('content-type', 'application/json').send('').expect(200);
      const answer = await t.http.post('/v1/auth/sign-in/email').expect(400);
      expect(answer.body.errors.map(({ path }: { path: string }) => path)).toEqual(expect.arrayContaining(['body.email', 'body.password']));
    });

    it('over the limit are rejected, with or without a content length', async () => {
      isProblem(await patch(JSON.stringify({ name: 'x'.repeat(2 * 1024 * 1024) })).expect(413), 413, 'body_too_large');
      const chunk = 'x'.repeat(64 * 1024);
      const chunked = await fetch(`${t.url}/v1/users/me`, {
        method: 'PATCH',
        headers: { ...person.auth, 'content-type': 'application/json' },
        body: new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode('{"name":"'));
            for (let sent = 0; sent < 32; sent += 1) controller.enqueue(new TextEncoder().encode(chunk));
            controller.close();
          },
        }),
        duplex: 'half',
      });
      expect(chunked.status).toBe(413);
    });

    it('with a content encoding are rejected, also when it is false', async () => {
      const body = JSON.stringify({ name: 'Packed' });
      for (const [encoding, sent] of [
        ['gzip', gzipSync(body)],
        ['br', brotliCompressSync(body)],
        ['gzip', body],
        ['compress', body],
      ] as const)
        isProblem(await patch(sent).set('content-encoding', encoding).expect(415), 415, 'unsupported_media_type');
      await patch(body).set('content-encoding', 'identity').expect(200);
    });

    it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/xml', 'application', 'x'])(
      'of type %s are rejected',
      async (type) => {
        isProblem(await patch('{"name":"x"}', type).expect(415), 415, 'unsupported_media_type');
      },
    );

    it('without a content type, or in another charset than UTF-8, are rejected', async () => {
      const answer = await rawRequest('PATCH /v1/users/me', { ...person.auth, 'Content-Length': '12' }, '{"name":"x"}');
      expect(statusOf(answer)).toBe(415);
      isProblem(await patch('{"name":"x"}', 'application/json; charset=latin1').expect(415), 415, 'unsupported_media_type');
      isProblem(await patch('{"name":"x"}', 'application/json; charset=nonsense').expect(415), 415, 'unsupported_media_type');
      await patch('{"name":"x"}', 'application/json; charset=UTF-8').expect(200);
    });

    it('with an unknown field are rejected, and the field is named', async () => {
      const answer = await patch('{"name":"x","role":"admin","operator":true}').expect(400);
      isProblem(answer, 400, 'invalid_request');
      expect(answer.body.errors.map(({ path }: { path: string }) => path)).toEqual(['body.role', 'body.operator']);
    });

    it.each(['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty'])('with a field named %s are rejected', async (name) => {
      const answer = await patch(`{"name":"x","${name}":{"operator":true}}`).expect(400);
      expect(answer.body.errors[0].path).toBe(`body.${name}`);
      const inQuery = await t.http.get(`/v1/sessions?${name}=1`).set(person.auth).expect(400);
      expect(inQuery.body.errors[0].path).toBe(`query.${name}`);
    });

    it('with a repeated field use the last value, as JSON.parse does', async () => {
      expect((await patch('{"name":"first","name":"second"}').expect(200)).body.name).toBe('second');
    });

    it('with deep nesting are rejected, also a megabyte of brackets', async () => {
      const deep = (levels: number) => `{"name":${'['.repeat(levels)}${']'.repeat(levels)}}`;
      isProblem(await patch(deep(100)).expect(400), 400, 'invalid_request');
      isProblem(await patch(deep(500_000)).expect(400), 400, 'invalid_request');
    });

    it.each(['\\u0000', 'a\\u0000b', '\\ud800', '\\udc00', '\\udc00\\ud800'])('with text that contains %s are rejected', async (text) => {
      const answer = await patch(`{"name":"${text}"}`).expect(400);
      expect(answer.body.errors).toEqual([{ path: 'body.name', message: 'must not contain NUL characters or lone surrogates' }]);
      await patch(`{"${text}":"x"}`).expect(400);
    });

    it('with invalid UTF-8 are rejected', async () => {
      const answer = await patch(Buffer.from([...Buffer.from('{"name":"'), 0xff, 0xfe, ...Buffer.from('"}')])).expect(400);
      isProblem(answer, 400, 'malformed_body');
      await patch(Buffer.from('\ufeff{"name":"With a byte order mark"}')).expect(200);
    });
  });

  describe('request paths', () => {
    it('get 404 for an unknown route and 405 for an unknown method, with or without a session', async () => {
      for (const path of ['/', '/v1', '/v1/', '/v2/users', '/v1/users/me/nothing', '/nothing', '/v1/auth', '/v1/auth/get-session'])
        isProblem(await t.http.get(path).expect(404), 404, 'route_not_found');
      for (const path of ['/v1/auth/list-sessions', '/v1/auth/ok', '/v1/auth/token', '/v1/auth/../auth/get-session'])
        expect(statusOf(await rawRequest(`GET ${path}`, person.auth))).toBe(404);
      for (const method of ['put', 'post'] as const) isProblem(await t.http[method]('/v1/users/me').expect(405), 405, 'method_not_allowed');
      expect(statusOf(await rawRequest('PROPFIND /v1/users/me', person.auth))).toBe(405);
      expect(statusOf(await rawRequest('TRACE /v1/users/me', person.auth))).toBe(405);
    });

    it('answer HEAD like GET without a body', async () => {
      const answer = await t.http.head('/v1/users/me').set(person.auth).expect(200);
      expect(answer.text).toBeUndefined();
      await t.http.head('/v1/users/me').expect(401);
    });

    const oddIds = [
      '%00',
      '%ff',
      '%c3%28',
      '%',
      '%zz',
      '..',
      '.',
      '%2e%2e',
      '..%2f..%2fetc%2fpasswd',
      '%252e',
      'a'.repeat(5000),
      '%f0%9f%98%80',
      '%ed%a0%80',
      "'%20OR%201=1--",
      '%22',
      '-1',
      '0',
      'null',
      'undefined',
      '00000000-0000-0000-0000-000000000000',
      '00000000-0000-0000-0000-00000000000g',
      '{00000000-0000-0000-0000-000000000000}',
      '00000000-0000-0000-0000-000000000000%00',
      '00000000-0000-0000-0000-000000000000%0a',
      ' '.replace(' ', '%20'),
      ';',
      '@',
      ':id',
      '*',
    ];

    it('with invalid ids never get 5xx', async () => {
      const failures: string[] = [];
      for (const { method, path } of operations.filter((operation) => operation.path.includes('{'))) {
        for (const id of oddIds) {
          const line = `${method} ${path.replaceAll(/\{\w+\}/g, id)}`;
          const status = statusOf(await rawRequest(line, operator.auth));
          if (!(status >= 200 && status < 500)) failures.push(`${line}: ${status}`);
        }
      }
      expect(failures).toEqual([]);
    });

    it('with an id that is not a UUID get 400, and the parameter is named', async () => {
      for (const id of ['abc', '%20', '1', '00000000-0000-0000-0000-00000000000g']) {
        const answer = await t.http.get(`/v1/users/${id}`).set(person.auth).expect(400);
        expect(answer.body.errors).toEqual([{ path: 'params.userId', message: 'userId must be a UUID' }]);
        await t.http.delete(`/v1/sessions/${id}`).set(person.auth).expect(400);
        await t.http.delete(`/v1/users/me/accounts/${id}`).set(person.auth).expect(400);
      }
      await t.http.get('/v1/users/%ff').set(person.auth).expect(404);
    });

    it('in unusual target forms get no 5xx', async () => {
      for (const target of [
        'http://other.example:99999/v1/auth/callback/google',
        'http://other.example/v1/auth/verify-email?token=x',
        '//other.example/v1/users/me',
        '//:0/v1/auth/error',
        '/v1/auth/callback/google?%ff=%ff&state=%00',
        '/v1/auth/callback/%2e%2e',
        '/v1/auth/verify-email?token=%ff',
        '/v1/users/me?',
        '/v1/users/me??&&==',
        '/v1//users/me',
        '*',
      ]) {
        const status = statusOf(await rawRequest(`GET ${target}`, person.auth));
        expect({ target, failed: !(status >= 200 && status < 500) }).toEqual({ target, failed: false });
      }
    });
  });

  describe('headers', () => {
    it('return a safe request id unchanged', async () => {
      for (const id of ['abc', '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182', 'Root=1-67891233-abcdef012345678912345678', 'x'.repeat(128)]) {
        const { headers } = await t.http.get('/health/live').set('x-request-id', id).expect(200);
        expect(headers['x-request-id']).toBe(id);
      }
    });

    it('return a new request id instead of a missing or unsafe one', async () => {
      const seen = new Set<string>();
      for (const id of [undefined, '', 'x'.repeat(129), 'a b', '<script>', '{"a":1}', 'a"b', 'é', 'a,b']) {
        const request = t.http.get('/v1/nothing');
        if (id !== undefined) request.set('x-request-id', encodeURI(id) === id ? id : Buffer.from(id).toString('latin1'));
        const { headers, body } = await request.expect(404);
        expect(headers['x-request-id']).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
        expect(body.requestId).toBe(headers['x-request-id']);
        seen.add(headers['x-request-id']!);
      }
      expect(seen.size).toBe(9);
    });

    it('include the security headers, and none that reveals the platform', async () => {
      for (const path of ['/v1/users/me', '/health/live', '/v1/nothing']) {
        const { headers } = await t.http.get(path).set(person.auth);
        expect(headers).toMatchObject({
          'x-content-type-options': 'nosniff',
          'content-security-policy': "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'",
          'strict-transport-security': expect.stringContaining('max-age='),
          'referrer-policy': 'no-referrer',
        });
        expect(Object.keys(headers)).not.toEqual(expect.arrayContaining(['x-powered-by']));
        expect(Object.keys(headers)).not.toContain('etag');
        expect(Object.keys(headers)).not.toContain('server');
      }
    });

    it('allow trusted origins only to read responses', async () => {
      const preflight = (origin: string) =>
        t.http
          .options('/v1/users/me')
          .set({ origin, 'access-control-request-method': 'PATCH', 'access-control-request-headers': 'authorization,content-type' });
      const trusted = await preflight('https://app.example.com').expect(204);
      expect(trusted.headers).toMatchObject({
        'access-control-allow-origin': 'https://app.example.com',
        'access-control-allow-credentials': 'true',
        'access-control-allow-headers': 'authorization,content-type',
        'access-control-allow-methods': expect.stringContaining('PATCH'),
        vary: expect.stringContaining('Origin'),
      });
      const answer = await t.http.get('/v1/users/me').set(person.auth).set('origin', 'https://app.example.com').expect(200);
      expect(answer.headers['access-control-allow-origin']).toBe('https://app.example.com');
      expect(answer.headers['access-control-expose-headers']).toContain('RateLimit');
      for (const origin of ['https://evil.example', 'https://app.example.com.evil.example', 'http://app.example.com', 'null', '*']) {
        expect((await preflight(origin)).headers).not.toHaveProperty('access-control-allow-origin');
        const refused = await t.http.get('/v1/users/me').set(person.auth).set('origin', origin);
        expect(refused.headers).not.toHaveProperty('access-control-allow-origin');
      }
    });

    it('that are too large are rejected without other effects', async () => {
      expect(statusOf(await rawRequest('GET /v1/users/me', { 'X-Big': 'x'.repeat(100_000) }))).toBe(431);
      expect(statusOf(await rawRequest(`GET /v1/users/me?${'x'.repeat(100_000)}`))).toBe(431);
      await t.http.get('/health/live').expect(200);
    });

    it('that are not HTTP are rejected without other effects', async () => {
      expect(statusOf(await raw('nonsense\r\n\r\n'))).toBe(400);
      expect(statusOf(await rawRequest('POST /v1/auth/sign-in/email', { 'Content-Length': '-1' }))).toBe(400);
      expect(statusOf(await rawRequest('POST /v1/auth/sign-in/email', { 'Content-Length': '5', 'Transfer-Encoding': 'chunked' }))).toBe(
        400,
      );
      await t.http.get('/health/live').expect(200);
    });
  });

  describe('any request', () => {
    /** These would delete or sign out the caller; other tests cover their bodies. */
    const fatal = new Set(['deleteMe', 'signOut', 'changePassword']);
    const asked = operations.filter(({ id }) => !fatal.has(id));
    const leaky = /node_modules|\bat .+:\d+:\d+|select |insert into|syntax error|pg_|postgres|drizzle/i;

    const key = fc.oneof(
      fc.constantFrom(
        'name',
        'username',
        'imageUrl',
        'email',
        'password',
        'token',
        'newEmail',
        'callbackURL',
        'provider',
        'idToken',
        'image',
      ),
      fc.string({ maxLength: 8 }),
    );
    const leaf = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.string({ unit: 'grapheme', maxLength: 40 }),
      fc.double(),
      fc.integer(),
      fc.boolean(),
      fc.constantFrom(null, '', ' ', '\0', '\ud800', PASSWORD, 'a@example.com', 'https://x.example', 1e308, '9'.repeat(400), 'google'),
    );
    const value = fc.oneof(leaf, fc.array(leaf, { maxLength: 4 }), fc.dictionary(key, leaf, { maxKeys: 4 }));
    const body = fc.oneof({ weight: 5, arbitrary: fc.dictionary(key, value, { maxKeys: 6 }) }, { weight: 1, arbitrary: fc.jsonValue() });
    const parameter = fc.tuple(
      fc.oneof(
        fc.constantFrom(
          'limit',
          'cursor',
          'email',
          'clerkUserId',
          'createdFrom',
          'createdBefore',
          'search',
          'token',
          'callbackURL',
          'error',
          'state',
        ),
        fc.string({ maxLength: 8 }),
      ),
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 30 }).map(encodeLoosely),
        fc.string({ unit: 'grapheme', maxLength: 30 }).map(encodeLoosely),
        fc.date().map((date) => (Number.isNaN(date.getTime()) ? 'never' : encodeURIComponent(date.toISOString()))),
        fc.integer().map(String),
        fc.constantFrom('', '%00', '%ff', '%', '10', '-271821-04-20T00:00:00Z', '%2B275760-09-13T00:00:00Z', '0000-01-01', '&&', "'"),
      ),
    );
    const query = fc.array(parameter, { maxLength: 4 }).map((all) => all.map(([name, text]) => `${encodeLoosely(name)}=${text}`).join('&'));

    it.each(asked)('never gets 5xx or reveals internals: $id', async ({ method, path }) => {
      await fc.assert(
        fc.asyncProperty(body, query, fc.uuid(), fc.boolean(), async (sent, search, id, byOperator) => {
          const answer = await fetch(`${t.url}${path.replaceAll(/\{\w+\}/g, id)}?${search}`, {
            method,
            redirect: 'manual',
            headers: { ...(byOperator ? operator : person).auth, 'content-type': 'application/json' },
            ...(method !== 'GET' && { body: JSON.stringify(sent) }),
          });
          const text = await answer.text();
          expect(answer.status).toBeLessThan(500);
          if (answer.status >= 400) {
            expect(text).not.toMatch(leaky);
            expect(JSON.parse(text)).toMatchObject({ status: answer.status, requestId: answer.headers.get('x-request-id') });
          }
        }),
        { numRuns: 15 },
      );
    });
  });
});

/** Lone surrogates have no percent-encoding. */
function encodeLoosely(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { newId } from '../../../src/platform/crypto/ids.js';
import { type Operation, readOperations } from '../../support/api.js';
import { startTestApp, type TestApp } from '../../support/app.js';

interface Outcome {
  status: number | undefined;
  code: string | undefined;
  allow: string | undefined;
}

describe('the router', () => {
  let t: TestApp;
  let operations: Operation[];
  beforeAll(async () => {
    t = await startTestApp();
    operations = await readOperations(t.url);
  });
  afterAll(() => t.close());

  /** Sends the path as it is, which fetch would not. */
  const send = async (method: string, path: string): Promise<Outcome> => {
    const sent = request({ host: '127.0.0.1', port: new URL(t.url).port, method, path });
    sent.end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const text = Buffer.concat(await response.toArray()).toString();
    const isProblem = response.headers['content-type']?.startsWith('application/problem+json') === true;
    const code = isProblem && text !== '' ? (JSON.parse(text) as { code: string }).code : undefined;
    return { status: response.statusCode, code, allow: response.headers.allow };
  };
  const notFound = { status: 404, code: 'route_not_found', allow: undefined };
  const filled = ({ path }: Operation, value: string = newId()) => path.replaceAll(/\{\w+\}/g, value);
  const matching = (path: string) =>
    operations.filter((operation) => new RegExp(`^${operation.path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path));
  const different = async (spellings: (operation: Operation) => [method: string, path: string, wanted: Outcome | undefined][]) => {
    const found: unknown[] = [];
    for (const operation of operations) {
      const usual = await send(operation.method, filled(operation));
      for (const [method, path, wanted = usual] of spellings(operation)) {
        const outcome = await send(method, path);
        if (JSON.stringify(outcome) !== JSON.stringify(wanted)) found.push({ method, path, outcome, wanted });
      }
    }
    return found;
  };

  it('finds every operation, in any case of the letters and with a slash at the end', async () => {
    expect(operations.length).toBeGreaterThan(50);
    for (const operation of operations.filter(({ path }) => !path.startsWith('/webhooks/')))
      expect((await send(operation.method, filled(operation))).code).not.toBe('route_not_found');
    const found = await different((operation) => [
      [operation.method, `${filled(operation)}/`, undefined],
      [operation.method, filled({ ...operation, path: operation.path.replaceAll(/\/[a-z-]+/g, (text) => text.toUpperCase()) }), undefined],
      [operation.method, `${filled(operation)}?`, undefined],
    ]);
    expect(found).toEqual([]);
  });

  it('finds none in another spelling', async () => {
    const found = await different((operation) => {
      const path = filled(operation);
      return [`${path}//`, `/${path}`, path.replace(/^\/(\w)/, (_, first: string) => `/%${first.charCodeAt(0).toString(16)}`)].map(
        (other) => [operation.method, other, notFound] as [string, string, Outcome],
      );
    });
    expect(found).toEqual([]);
  });

  it('finds none with a parameter that cannot be decoded, whatever the method', async () => {
    const found = await different((operation) => {
      if (operation.pathParameters.length === 0) return [];
      return [operation.method, 'PUT', 'TRACE'].map((method) => [method, filled(operation, '%ff'), notFound] as [string, string, Outcome]);
    });
    expect(found).toEqual([]);
  });

  it('decodes a slash within a parameter', async () => {
    const { status, code } = await send('GET', '/v1/organizations/a%2Fb');
    expect({ status, code }).toEqual({ status: 401, code: 'signed_out' });
    expect(await send('GET', '/v1/organizations/a/b')).toEqual(notFound);
  });

  it('takes HEAD for GET', async () => {
    const found = await different((operation) => {
      const path = filled(operation);
      return matching(path).some(({ method }) => method === 'GET') ? [] : [['HEAD', path, { ...notFound, code: undefined }]];
    });
    expect(found).toEqual([]);
    // Better Auth decides about its own callback, and takes GET alone.
    for (const operation of operations.filter(({ method, path }) => method === 'GET' && !path.startsWith('/v1/auth/callback/'))) {
      const path = filled(operation);
      const [get, head] = [await send('GET', path), await send('HEAD', path)];
      expect({ path, status: head.status }).toEqual({ path, status: get.status });
    }
  });

  it('reports the methods of every route that matches', async () => {
    const methodsOf = (path: string) =>
      new Set(['OPTIONS', ...matching(path).flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))]);
    const found = await different((operation) => {
      const path = filled(operation);
      const allowed = methodsOf(path);
      const others = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'TRACE'].filter((method) => !allowed.has(method));
      const wanted = { status: 405, code: 'method_not_allowed', allow: [...allowed].toSorted().join(', ') };
      return others.map((method) => [method, path, wanted]);
    });
    expect(found).toEqual([]);
  });
});

describe('a JSON response', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  it('has its type and length, and no body for HEAD or a condition that holds', async () => {
    const { headers, text } = await t.http.get('/health/live').expect(200);
    expect(headers).toMatchObject({ 'content-type': 'application/json; charset=utf-8', 'content-length': String(text.length) });
    expect(headers).not.toHaveProperty('etag');
    const head = await t.http.head('/health/live').expect(200);
    expect(head.headers).toMatchObject({ 'content-type': 'application/json; charset=utf-8', 'content-length': String(text.length) });
    await t.http.get('/health/live').set('if-none-match', '*').expect(304, '');
    await t.http.get('/health/live').set('if-none-match', '"x"').expect(200, text);
  });
});

import { connect } from 'node:net';
import fc from 'fast-check';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { endProcesses, type Process, ready, startServer } from '../../support/processes.js';
import { until } from '../../support/until.js';

interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

interface Line {
  reqId?: string;
  req?: { method?: string; path?: string; address?: string };
  res?: { status: number };
}

/** Sends requests over a socket that no HTTP client would send. */
describe('an unreadable request', () => {
  let db: TestDatabase;
  let server: Process;
  beforeAll(async () => {
    db = await createTestDatabase();
    server = await ready(await startServer(db.url));
  });
  afterAll(async () => {
    await endProcesses();
    await db.drop();
  });

  const send = (text: string): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
      let received = '';
      socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
      socket.on('error', reject);
      socket.on('close', () => {
        const [head = '', body = ''] = received.split('\r\n\r\n', 2);
        const [line = '', ...lines] = head.split('\r\n');
        const headers = lines.map((one) => [one.slice(0, one.indexOf(':')).toLowerCase(), one.slice(one.indexOf(':') + 2)]);
        resolve({ status: Number(line.split(' ')[1]), headers: Object.fromEntries(headers) as Record<string, string>, body });
      });
      socket.write(text, 'latin1');
    });
  const request = (line: string, ...headers: string[]) =>
    send(`${[`${line} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...headers].join('\r\n')}\r\n\r\n`);
  const lineOf = async (requestId: string): Promise<Line> => {
    const find = () => (server.log() as Line[]).find(({ reqId }) => reqId === requestId);
    await until(async () => find() !== undefined, server.output);
    return find()!;
  };

  const UNREADABLE: [string, string, number, string][] = [
    ['an invalid URL as target', 'GET http://[::bad/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400, 'malformed_request'],
    ['a target with an invalid port', 'GET http://host:99999/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400, 'malformed_request'],
    ['a target with another scheme', 'GET ftp://host/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400, 'malformed_request'],
    ['a target without a slash', 'GET v1/plans HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400, 'malformed_request'],
    ['a target with a fragment', 'GET //#@ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400, 'malformed_request'],
    ['an unknown expectation', 'GET /v1/plans HTTP/1.1\r\nHost: x\r\nExpect: x\r\nConnection: close\r\n\r\n', 417, 'expectation_failed'],
    ['no Host header', 'GET /v1/plans HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'malformed_request'],
    ['headers that are too large', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'headers_too_large'],
    ['a target that is too large', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431, 'headers_too_large'],
    ['too many headers', `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${'a:b\r\n'.repeat(2500)}\r\n`, 431, 'headers_too_large'],
    ['text that is not HTTP', 'nonsense\r\n\r\n', 400, 'malformed_request'],
    ['an unknown method', 'SMUGGLE / HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'malformed_request'],
    ['an invalid length', 'POST /v1/usage HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n', 400, 'malformed_request'],
    [
      'a length and chunks',
      'POST /v1/usage HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
      400,
      'malformed_request',
    ],
    ['a header with a NUL', 'GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n', 400, 'malformed_request'],
    ['CONNECT', 'CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'malformed_request'],
  ];

  it.each(UNREADABLE)('gets a problem and a log entry: %s', async (_what, text, status, code) => {
    const answer = await send(text);
    expect(answer).toMatchObject({
      status,
      headers: {
        'content-type': 'application/problem+json; charset=utf-8',
        'x-content-type-options': 'nosniff',
        'content-security-policy': "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'",
        'cache-control': 'no-store',
        connection: 'close',
      },
    });
    const problem = JSON.parse(answer.body) as { requestId: string };
    expect(problem).toMatchObject({ status, code, requestId: answer.headers['x-request-id'] });
    expect(await lineOf(problem.requestId)).toMatchObject({ res: { status }, req: { address: '127.0.0.1' } });
  });

  it('gets a response when its chunked body is invalid', async () => {
    const head = ['POST /v1/auth/sign-in/email HTTP/1.1', 'Host: x', 'Content-Type: application/json', 'Transfer-Encoding: chunked'];
    const answer = await send(`${head.join('\r\n')}\r\n\r\nnonsense\r\n`);
    expect(answer).toMatchObject({ status: 400, headers: { 'content-type': 'application/problem+json; charset=utf-8' } });
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'malformed_request', requestId: answer.headers['x-request-id'] });
  });

  it('does not affect later requests', async () => {
    expect((await request('GET /health/live')).status).toBe(200);
  });

  it('is not a target in absolute form, which is served and logged without its host and secrets', async () => {
    expect(await request('GET http://localhost/v1/plans')).toMatchObject({ status: 200 });
    expect(await request('GET HTTPS://user:SECRET@other.example/v1/plans?x=1')).toMatchObject({ status: 200 });
    expect(await request('GET http://localhost')).toMatchObject({ status: 404 });
    const targets = [
      'http://host.example/v1/auth/reset-password/SECRET?callbackURL=/x',
      'http://user:SECRET@host.example/v1/auth/reset-password/SECRET',
      '/V1/AUTH/Reset-Password/SECRET?callbackURL=/SECRET',
      '//v1/auth/reset-password/SECRET',
      '/v1/auth/reset%2Dpassword/SECRET',
      '/v1/auth/reset-password/SECRET/SECRET#SECRET',
      'http://[::SECRET/v1/auth/reset-password/SECRET',
    ];
    for (const target of targets) {
      const { headers } = await request(`GET ${target}`);
      const { req } = await lineOf(headers['x-request-id']!);
      expect({ target, req }).toEqual({ target, req: { method: 'GET', address: '127.0.0.1', path: expect.stringMatching(/^\/[^:]*$/) } });
    }
    expect(server.output()).not.toContain('SECRET');
    expect(server.output()).not.toContain('host.example');
  });

  it('always gets a request id, our headers and no 5xx', async () => {
    const piece = fc.oneof(
      fc.constantFrom('/', '//', '?', '#', '%', '%00', '%ff', '..', '\\', '@', ':', '[', ']', 'http://', 'https://', 'v1', 'users', '*'),
      fc.string({ maxLength: 6 }),
      fc.string({ unit: 'binary', maxLength: 3 }),
    );
    const target = fc
      .array(piece, { minLength: 1, maxLength: 8 })
      .map((pieces) => pieces.join('').replaceAll(/[\0-\x20\x7f]|[^\0-\xff]/g, '') || '/');
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('GET', 'POST', 'OPTIONS', 'HEAD'), target, async (method, text) => {
        const { status, headers } = await request(`${method} ${text}`);
        expect({ text, status, isRefused: status < 500 }).toEqual({ text, status, isRefused: true });
        expect({ text, ...headers }).toMatchObject({ text, 'x-request-id': expect.any(String), 'x-content-type-options': 'nosniff' });
      }),
      { numRuns: Number(process.env['FC_RUNS'] ?? 300) },
    );
  });

  describe('with a method that its path does not support', () => {
    it.each([
      ['PUT', '/v1/users/me', 'DELETE, GET, HEAD, OPTIONS, PATCH'],
      ['TRACE', '/v1/plans', 'GET, HEAD, OPTIONS'],
      ['PROPFIND', '/V1/Plans/', 'GET, HEAD, OPTIONS'],
      ['GET', '/v1/auth/sign-in/email', 'OPTIONS, POST'],
      ['PATCH', '/webhooks/clerk', 'OPTIONS, POST'],
      ['DELETE', '/openapi.json', 'GET, HEAD, OPTIONS'],
      ['POST', '/health/ready', 'GET, HEAD, OPTIONS'],
      ['PUT', '/v1/organizations/not-an-id/usage', 'GET, HEAD, OPTIONS, POST'],
    ])('gets 405 with the supported methods: %s %s', async (method, path, allow) => {
      const answer = await request(`${method} ${path}`);
      expect(answer).toMatchObject({ status: 405, headers: { allow } });
      expect(JSON.parse(answer.body)).toMatchObject({ code: 'method_not_allowed' });
    });

    it('gets 404 for an unknown path and for HEAD', async () => {
      for (const line of ['PUT /v1/nothing', 'GET /v1/auth/list-sessions', 'HEAD /v1/auth/sign-in/email', 'POST /']) {
        const answer = await request(line);
        expect({ line, status: answer.status, allow: answer.headers['allow'] }).toEqual({ line, status: 404, allow: undefined });
      }
    });

    it('gets a response when it is a preflight', async () => {
      const preflight = ['Origin: http://localhost:3000', 'Access-Control-Request-Method: POST'];
      expect(await request('OPTIONS /v1/auth/sign-in/email', ...preflight)).toMatchObject({ status: 204 });
    });
  });
});

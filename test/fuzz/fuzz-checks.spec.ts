import { readFileSync } from 'node:fs';
import { Seeded } from '../simulators/seeded.js';
import { errorsIn } from '../support/fuzz/checks.js';
import { FuzzDocument } from '../support/fuzz/document.js';
import type { FuzzAnswer, FuzzRequest } from '../support/fuzz/requests.js';
import { Values } from '../support/fuzz/values.js';

const raw = JSON.parse(readFileSync('openapi.json', 'utf8')) as ConstructorParameters<typeof FuzzDocument>[0];
const document = new FuzzDocument(raw);
const operation = document.operations.find(({ id }) => id === 'getLiveness')!;
const quota = document.operations.find(({ id }) => id === 'holdOwnTokens')!;

const HEADERS = { 'cache-control': 'no-store', 'x-request-id': 'an-id', 'content-type': 'application/json; charset=utf-8' };
const PROBLEM = { ...HEADERS, 'content-type': 'application/problem+json; charset=utf-8' };

function problem(status: number, code: string, more: object = {}): Partial<FuzzAnswer> {
  const body = { type: `https://tenantry.dev/problems/${code}`, title: 'T', status, detail: 'D', code, requestId: 'an-id', ...more };
  return { status, headers: PROBLEM, body: Buffer.from(JSON.stringify(body)) };
}

function wrong(answer: Partial<FuzzAnswer>, given: Partial<FuzzRequest> = {}): string[] {
  const request: FuzzRequest = { operation, role: 'signed out', method: operation.method, target: operation.path, headers: [], ...given };
  return errorsIn(document, request, { status: 200, headers: HEADERS, body: Buffer.from('{"status":"ok"}'), ms: 1, ...answer });
}

describe('the fuzz checks', () => {
  it('accept documented responses', () => {
    expect(wrong({})).toEqual([]);
    expect(wrong(problem(400, 'invalid_request', { errors: [{ path: 'query.a', message: 'a must be b' }] }))).toEqual([]);
    expect(wrong(problem(404, 'route_not_found'))).toEqual([]);
    expect(wrong(problem(431, 'headers_too_large'))).toEqual([]);
  });

  it.each<[string, Partial<FuzzAnswer>]>([
    ['a server error', problem(500, 'internal_error')],
    ['an undocumented status', problem(409, 'invalid_request')],
    ['an undocumented success', { status: 206 }],
    ['an undocumented code', problem(400, 'invalid_cursor')],
    ['an undocumented property', { body: Buffer.from('{"status":"ok","secret":1}') }],
    ['a property of another type', { body: Buffer.from('{"status":1}') }],
    ['no body', { body: Buffer.alloc(0) }],
    ['half a body', { body: Buffer.from('{"status":') }],
    ['another type', { headers: { ...HEADERS, 'content-type': 'text/html' } }],
    ['a problem with unknown members', problem(400, 'invalid_request', { stack: 'at x' })],
    ['a problem with another status', problem(400, 'invalid_request', { status: 401 })],
    ['a failure that is not a problem', { ...problem(400, 'invalid_request'), headers: HEADERS }],
    ['a cacheable response', { headers: { ...HEADERS, 'cache-control': 'public' } }],
    ['a response without an id', { headers: { ...HEADERS, 'x-request-id': undefined } }],
    ['a large problem', problem(400, 'invalid_request', { detail: 'x'.repeat(20_000) })],
    ['a slow response', { ms: 60_000 }],
    ['a broken connection', { status: 0 }],
  ])('detect %s', (_what, answer) => {
    expect(wrong(answer)).not.toEqual([]);
  });

  it('accept in a problem exactly the members that the document declares for its operation', () => {
    const { value } = (raw.components as unknown as { examples: Record<string, { value: { quota: object } }> }).examples['quota_exceeded']!;
    const refused = (more: object) =>
      wrong(problem(402, 'quota_exceeded', { ...value, ...more }), { operation: quota, method: quota.method });
    expect(refused({})).toEqual([]);
    expect(refused({ secret: 1 }).join()).toContain('secret');
    expect(refused({ quota: { ...value.quota, secret: 1 } }).join()).toContain('secret');
  });

  it('generate equal values for equal seeds, and different ones for different seeds', () => {
    const made = (seed: string) => {
      const values = new Values(new Seeded(seed), document);
      return document.operations.map(({ body }) => (body === undefined ? values.text() : values.json(values.nearly(values.right(body)))));
    };
    expect(made('a')).toEqual(made('a'));
    expect(made('a')).not.toEqual(made('b'));
    expect(made('a').join()).not.toContain('raw:');
  });
});

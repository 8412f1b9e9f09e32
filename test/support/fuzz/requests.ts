import { Agent, request as send } from 'node:http';
import type { Seeded } from '../../simulators/seeded.js';
import type { Values as Ids } from '../expectations.js';
import { pathValues } from '../operations.js';
import type { FuzzDocument, FuzzOperation } from './document.js';
import { HOSTILE_TEXTS, Values } from './values.js';
import { FUZZ_ROLES, type FuzzRole, type FuzzWorld } from './world.js';

export interface FuzzRequest {
  operation: FuzzOperation;
  role: FuzzRole;
  method: string;
  /** Path and query as they are sent. */
  target: string;
  headers: [string, string][];
  body?: Buffer;
}

export interface FuzzAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
  ms: number;
}

const ODD_METHODS = ['HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE', 'POST', 'GET', 'TRACE', 'PROPFIND', 'QUERY'];
const ODD_TYPES = [
  'text/plain',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/json; charset=utf-16',
  'application/json; charset=latin1',
  'application/problem+json',
  'application/JSON ;charset=UTF-8',
  'nonsense',
  '',
];

/** Generates valid, nearly valid and hostile requests for the operations of a document. */
export class FuzzRequests {
  private readonly values: Values;

  constructor(
    private readonly chance: Seeded,
    private readonly document: FuzzDocument,
  ) {
    this.values = new Values(chance, document);
  }

  next(world: FuzzWorld): FuzzRequest {
    const { chance } = this;
    const operation = chance.pick(this.document.operations);
    const role = chance.pick(FUZZ_ROLES);
    const ids = world.ids(chance);
    const body = this.body(operation, world.body(operation.id, ids));
    return {
      operation,
      role,
      method: chance.chance(0.03) ? chance.pick(ODD_METHODS) : operation.method,
      target: `${this.path(operation, ids)}${this.query(operation, world.query(operation.id, ids))}`,
      headers: [...world.credentials(role, chance), ...this.headers(operation, body)],
      body,
    };
  }

  private path(operation: FuzzOperation, ids: Ids): string {
    const { chance } = this;
    const names = [...operation.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
    const known = pathValues({ ...operation, pathParameters: names }, ids);
    return operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
      // An empty value would be another route.
      encoded((chance.chance(0.1) ? chance.pick([...HOSTILE_TEXTS, '%2e%2e', 'x'.repeat(3000)]) : known[name]!) || ' '),
    );
  }

  private query({ parameters }: FuzzOperation, known: Record<string, string>): string {
    const { chance } = this;
    const pairs = Object.entries(known).filter(() => !chance.chance(0.1));
    for (const { name, schema, in: place } of parameters) {
      if (place !== 'query' || name in known || !chance.chance(0.35)) continue;
      const value = chance.chance(0.4) ? this.values.text() : this.values.right(schema);
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      pairs.push([name, text]);
      if (chance.chance(0.05)) pairs.push([name, this.values.text()]);
      if (chance.chance(0.03)) pairs.push([`${name}[]`, text], [`${name}[a]`, text]);
    }
    if (chance.chance(0.03)) pairs.push([this.values.text(), this.values.text()]);
    if (pairs.length === 0) return chance.chance(0.02) ? '?&&=&%' : '';
    return `?${pairs.map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join('&')}`;
  }

  private body({ body: schema, method }: FuzzOperation, sample: object | undefined): Buffer | undefined {
    const { chance, values } = this;
    if (schema === undefined && (method === 'GET' || !chance.chance(0.2))) return undefined;
    if (chance.chance(0.03))
      return Buffer.from(chance.pick(['', '{', '[1,', '{"a":1,"a":2}', '\u0000', 'null', '"x"', '1', '[]', '{"a":NaN}']));
    if (chance.chance(0.01)) return Buffer.from([0x7b, 0xff, 0xfe, 0x7d]);
    const right = sample !== undefined && chance.chance(0.5) ? sample : schema === undefined ? {} : values.right(schema);
    let value: unknown = right;
    if (chance.chance(0.6)) for (let times = chance.between(1, 2); times > 0; times -= 1) value = values.nearly(value);
    return Buffer.from(values.json(value));
  }

  private headers({ parameters }: FuzzOperation, body: Buffer | undefined): [string, string][] {
    const { chance } = this;
    const headers: [string, string][] = [];
    // Without a length, Node announces a chunked body and sends none.
    if (body === undefined && !chance.chance(0.05)) headers.push(['content-length', '0']);
    if (body !== undefined) {
      const type = chance.chance(0.04) ? chance.pick(ODD_TYPES) : 'application/json';
      headers.push(['content-type', type], ['content-length', String(body.length)]);
      if (chance.chance(0.01)) headers.push(['content-encoding', chance.pick(['gzip', 'br', 'identity', 'nonsense'])]);
    }
    for (const { in: place, name } of parameters)
      if (place === 'header' && chance.chance(0.3))
        headers.push([name, chance.pick(['a-key', `key-${chance.next()}`, '', '"quoted"', 'x'.repeat(300), 'ä'])]);
    if (chance.chance(0.03)) headers.push(['x-request-id', chance.pick(['', 'ok-1', '../x', 'x'.repeat(500), '<b>'])]);
    if (chance.chance(0.02)) headers.push(['accept', chance.pick(['text/html', 'application/xml', '*/*;q=x'])]);
    if (chance.chance(0.02)) headers.push(['x-forwarded-for', chance.pick(['1.2.3.4', '::1', 'nonsense', '1.2.3.4:80, [::1]:9'])]);
    if (chance.chance(0.01)) headers.push(['x-http-method-override', 'DELETE']);
    return headers;
  }
}

const agent = new Agent({ keepAlive: true, maxSockets: 4 });

/** Sends the request unchanged; `fetch` would repair or refuse half of them. */
export async function sendFuzz(url: string, { method, target, headers, body }: FuzzRequest): Promise<FuzzAnswer> {
  const started = performance.now();
  return new Promise((resolve) => {
    const { hostname, port } = new URL(url);
    // A broken connection is an outcome too, with status 0.
    const broken = ({ message }: Error) => resolve({ status: 0, headers: {}, body: Buffer.from(message), ms: performance.now() - started });
    const outgoing = send(
      { agent, hostname, port, method, path: target, headers: ['host', 'localhost:3000', ...headers.flat()] },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', broken);
        incoming.on('end', () =>
          resolve({
            status: incoming.statusCode!,
            headers: incoming.headers,
            body: Buffer.concat(chunks),
            ms: performance.now() - started,
          }),
        );
      },
    );
    outgoing.on('error', broken);
    outgoing.end(body);
  });
}

export function endFuzz(): void {
  agent.destroy();
}

/** Percent-encodes; a lone surrogate becomes its three bytes, which no decoder accepts. */
function encoded(text: string): string {
  return text.isWellFormed() ? encodeURIComponent(text) : '%ED%A0%80';
}

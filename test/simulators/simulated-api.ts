import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** The failure of the next call: no response, a cut connection, a response that is lost after the effect, or an error response. */
export type Fault = 'hang' | 'cut' | 'lost' | { status: number; retryAfter?: number; body?: string; contentType?: string };

export interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

export interface Call {
  method: string;
  /** The non-empty segments, for example `customers`, `cus_1`. */
  path: string[];
  query: URLSearchParams;
  /** Undefined without a body. */
  body: unknown;
}

/** What differs between providers. */
export interface ProviderBehavior {
  token: string;
  answer: (call: Call) => Answer;
  /** Error responses in the provider's format. */
  unauthorized: () => Answer;
  tooMany: (retryAfterSeconds: number) => Answer;
  failure: (status: number) => Answer;
  /** For the header `Date`. */
  now?: () => Date;
}

export const answerOf = (body: unknown, status = 200): Answer => ({ status, body });

/** A provider's API on a local server: bearer tokens, faults on demand, and a rate limit. */
export async function startSimulatedApi({ token, answer, now = () => new Date(), ...dialect }: ProviderBehavior) {
  const faults: Fault[] = [];
  /** Every call, for example `GET /v1/users?limit=500`. */
  const calls: string[] = [];
  const window = { startedAt: 0, spent: 0 };
  const control = {
    /** Requests allowed in a window of seconds. */
    rateLimit: undefined as { requests: number; seconds: number } | undefined,
    /** Called, and awaited, before a call is handled. */
    onCall: undefined as ((call: string) => void | Promise<void>) | undefined,
    /** Called, and awaited, after a call had its effect and before its response. */
    onDone: undefined as ((call: string) => void | Promise<void>) | undefined,
  };

  const limited = (): Answer | undefined => {
    if (control.rateLimit === undefined) return undefined;
    const { requests, seconds } = control.rateLimit;
    const at = Date.now();
    if (at - window.startedAt >= seconds * 1000) Object.assign(window, { startedAt: at, spent: 0 });
    window.spent += 1;
    return window.spent <= requests ? undefined : dialect.tooMany(Math.ceil((window.startedAt + seconds * 1000 - at) / 1000));
  };

  const failureOf = ({ status, retryAfter }: Exclude<Fault, string>): Answer =>
    status === 429 ? dialect.tooMany(retryAfter ?? 1) : dialect.failure(status);

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const call = `${request.method} ${request.url}`;
    calls.push(call);
    await control.onCall?.(call);
    const fault = faults.shift();
    if (fault === 'hang') return;
    if (fault === 'cut') {
      request.socket.resetAndDestroy();
      return;
    }
    response.setHeader('date', now().toUTCString());
    if (typeof fault === 'object' && fault.body !== undefined) {
      response.writeHead(fault.status, { 'content-type': fault.contentType ?? 'application/json' }).end(fault.body);
      return;
    }
    const body = await bodyOf(request);
    const isOurs = request.headers.authorization === `Bearer ${token}`;
    const outcome =
      (typeof fault === 'object' ? failureOf(fault) : undefined) ??
      limited() ??
      (isOurs ? answer({ ...placeOf(request), body }) : dialect.unauthorized());
    await control.onDone?.(call);
    if (fault === 'lost') {
      request.socket.resetAndDestroy();
      return;
    }
    response.writeHead(outcome.status, { 'content-type': 'application/json', ...outcome.headers });
    response.end(outcome.status === 204 ? undefined : JSON.stringify(outcome.body));
  };

  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    control,
    /** The faults of the next calls, in this order. */
    faults,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function placeOf({ method = '', url = '' }: IncomingMessage): Omit<Call, 'body'> {
  const { pathname, searchParams } = new URL(url, 'http://api.example.com');
  return {
    method,
    path: pathname
      .split('/')
      .filter((part) => part !== '')
      .map(decodeURIComponent),
    query: searchParams,
  };
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const body = await text(request);
  return body === '' ? undefined : JSON.parse(body);
}

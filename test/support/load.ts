import { until } from './until.js';

/** A request that a load sends repeatedly. */
export interface LoadedRequest {
  url: string;
  method?: string;
  headers?: Record<string, string>;
  body?: unknown;
}

export interface Load {
  /** The number of responses by status; `none` counts requests without a response. */
  statuses: Record<string, number>;
  /** The longest response time in milliseconds. */
  slowest: number;
  /** The first bodies of responses that were neither a success nor a 503. */
  surprises: string[];
  /** 503 responses without `Retry-After`. */
  withoutRetryAfter: number;
  stop(): Promise<void>;
}

/** Sends requests from several callers, each one after the other, until it is stopped. */
export function startLoad(requests: LoadedRequest[], { callers = 16, giveUpMs = 40_000 } = {}): Load {
  let running = true;
  const load: Load = { statuses: {}, slowest: 0, surprises: [], withoutRetryAfter: 0, stop: async () => undefined };
  const count = (status: string) => (load.statuses[status] = (load.statuses[status] ?? 0) + 1);

  const send = async ({ url, method = 'GET', headers, body }: LoadedRequest) => {
    const began = performance.now();
    try {
      const answer = await fetch(url, {
        method,
        headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(giveUpMs),
      });
      const text = await answer.text();
      count(String(answer.status));
      if (answer.status === 503 && answer.headers.get('retry-after') === null) load.withoutRetryAfter += 1;
      if (answer.status !== 503 && !answer.ok && load.surprises.length < 5)
        load.surprises.push(`${method} ${url} ${answer.status} ${text}`);
    } catch (error) {
      count('none');
      if (load.surprises.length < 5) load.surprises.push(`${method} ${url} ${String(error)}`);
    }
    load.slowest = Math.max(load.slowest, performance.now() - began);
  };

  const caller = async (first: number) => {
    for (let turn = first; running; turn += 1) await send(requests[turn % requests.length]!);
  };
  const all = Promise.all(Array.from({ length: callers }, (_, index) => caller(index)));
  load.stop = async () => {
    running = false;
    await all;
  };
  return load;
}

/** Waits until a condition holds, and fails after a deadline. */
export async function eventually(what: string, holds: () => Promise<boolean> | boolean, withinMs = 20_000): Promise<void> {
  await until(holds, () => what, withinMs);
}

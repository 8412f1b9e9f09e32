import { setTimeout as pause } from 'node:timers/promises';
import { BillingProviderFailed } from '../subscriptions/sync/billing-provider.port.js';
import type { BillingProviderName } from '../plans/plans.js';

/** Network errors, time-outs and 5xx; a rate limit is asked more often, since it says when to come again. */
const MAX_TRIES = 4;
const MAX_RATE_LIMITED_TRIES = 10;

/** How a provider says no. */
export interface ProviderErrorBody {
  code: string;
  message: string;
  /** What is wrong where in what was sent, for providers that say so. */
  details?: { path: (string | number)[]; message: string }[];
}

/** A provider answered, and refused; in its own words, unless somebody in between did. */
export class ProviderRequestRejected extends BillingProviderFailed {
  readonly code?: string;
  readonly details: ProviderErrorBody['details'];

  constructor(provider: BillingProviderName, operation: string, { status, headers }: Response, body: ProviderErrorBody | undefined) {
    super(provider, operation, body === undefined ? `${status}` : `${status}, ${body.code} (${body.message})`, {
      status,
      isRetryable: status === 408 || status === 429 || status >= 500,
      retryAfterSeconds: Number(headers.get('retry-after')) || 0,
    });
    this.code = body?.code;
    this.details = body?.details;
  }

  /** What was sent is at fault, by the provider's own words: it would be refused again and again. */
  get isInvalidContent(): boolean {
    return this.status === 413 || (this.code !== undefined && [400, 404, 422].includes(this.status!));
  }

  /** A 404 that is not in the provider's words is not the provider's, and says nothing about what it has. */
  get isNotFound(): boolean {
    return this.status === 404 && this.code !== undefined;
  }
}

/** Sends a request that an SDK has made. */
export type Send = typeof fetch;

/**
 * How the API of a billing provider is called. The official SDKs make the requests and type the answers; sending
 * them is done here, since neither SDK does it soundly:
 *
 * - Polar's takes no signal, follows redirects with its token, hides the status of a 5xx and the cause of a network
 *   error, and throws a bare SyntaxError at the page of whoever stands in between.
 * - Dodo's stops its time-out at the headers, so that a body may take for ever, and sleeps between its tries without
 *   listening to its signal.
 */
export class BillingHttpClient {
  /** How calls behave. Both providers give pages of up to 100. */
  readonly limits = { pageSize: 100, timeoutMs: 10_000, firstPauseMs: 500, longestPauseMs: 60_000, pause };

  constructor(
    private readonly provider: BillingProviderName,
    /** Undefined for what is not said by the provider. */
    private readonly parseErrorBody: (answer: object) => ProviderErrorBody | undefined,
  ) {}

  /** A call that changes nothing, repeated while that may help. */
  async read<T>(operation: string, call: (send: Send) => Promise<T>, signal?: AbortSignal): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      signal?.throwIfAborted();
      try {
        return await this.once(operation, call, { signal });
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof BillingProviderFailed) || !error.isRetryable) throw error;
        if (tries >= (error.status === 429 ? MAX_RATE_LIMITED_TRIES : MAX_TRIES)) throw error;
        await this.limits.pause(this.retryDelayMs(tries, error), undefined, { signal });
      }
    }
  }

  /** Undefined for what the provider itself says that there is none of. */
  async find<T>(operation: string, call: (send: Send) => Promise<T>, signal?: AbortSignal): Promise<T | undefined> {
    try {
      return await this.read(operation, call, signal);
    } catch (error) {
      if (error instanceof ProviderRequestRejected && error.isNotFound) return undefined;
      throw error;
    }
  }

  /**
   * A call that changes something, tried once: whoever asks comes again. Neither provider promises to heed the
   * key; made twice is only what nobody pays for, or what has an id of its own.
   */
  async write<T>(
    operation: string,
    call: (send: Send) => Promise<T>,
    options: { idempotencyKey?: string; signal?: AbortSignal } = {},
  ): Promise<T> {
    return this.once(operation, call, options);
  }

  /** What an answer has to hold. */
  expect<T>(operation: string, value: T | null | undefined, missing: string): T {
    if (value == null) throw new BillingProviderFailed(this.provider, operation, `the answer has no ${missing}`);
    return value;
  }

  private async once<T>(
    operation: string,
    call: (send: Send) => Promise<T>,
    { signal, idempotencyKey }: { signal?: AbortSignal; idempotencyKey?: string },
  ): Promise<T> {
    let failure: unknown;
    const send: Send = async (url, init = {}) => {
      const headers = new Headers(init.headers);
      if (idempotencyKey !== undefined) headers.set('idempotency-key', idempotencyKey);
      return this.send(operation, url, { ...init, headers }, signal).catch((error: unknown) => {
        failure = error;
        throw error;
      });
    };
    try {
      return await call(send);
    } catch (error) {
      // An SDK wraps it into something of its own.
      throw failure ?? error;
    }
  }

  private async send(operation: string, url: Parameters<Send>[0], init: RequestInit, signal?: AbortSignal): Promise<Response> {
    const { timeoutMs } = this.limits;
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      const response = await fetch(url, {
        ...init,
        redirect: 'error',
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      });
      const text = await response.text();
      const answer = text === '' ? {} : parseJsonObject(text);
      if (!response.ok) throw new ProviderRequestRejected(this.provider, operation, response, answer && this.parseErrorBody(answer));
      if (answer === undefined) throw new BillingProviderFailed(this.provider, operation, 'the answer is no JSON object');
      return Response.json(answer, { headers: dateHeader(response) });
    } catch (error) {
      if (error instanceof BillingProviderFailed) throw error;
      const reason = timeout.aborted ? `no answer within ${timeoutMs} ms` : 'no answer';
      throw new BillingProviderFailed(this.provider, operation, reason, { isRetryable: true, cause: error });
    }
  }

  private retryDelayMs(tries: number, { retryAfterSeconds }: BillingProviderFailed): number {
    const { firstPauseMs, longestPauseMs } = this.limits;
    const backoff = firstPauseMs * 2 ** (tries - 1) * (0.5 + Math.random() / 2);
    return Math.min(longestPauseMs, Math.max(backoff, retryAfterSeconds * 1000));
  }
}

/** The only header of an answer that is looked at. */
function dateHeader({ headers }: Response): Record<string, string> {
  const date = headers.get('date');
  return date === null ? {} : { date };
}

/** Undefined for what is none: a page of whoever stands in between. */
function parseJsonObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

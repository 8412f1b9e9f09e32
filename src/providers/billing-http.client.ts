import { setTimeout as pause } from 'node:timers/promises';
import { BillingProviderFailed } from '../subscriptions/sync/billing-provider.port.js';
import type { BillingProviderName } from '../plans/plans.js';

/** A rate limit is retried more often, since its response says when. */
const MAX_TRIES = 4;
const MAX_RATE_LIMITED_TRIES = 10;

export interface ProviderErrorBody {
  code: string;
  message: string;
  /** Errors by field, if the provider reports them. */
  details?: { path: (string | number)[]; message: string }[];
}

/** An error response. `code` is missing if it came from a proxy in between. */
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

  /** The provider rejected the content itself, so that every retry would fail. */
  get isInvalidContent(): boolean {
    return this.status === 413 || (this.code !== undefined && [400, 404, 422].includes(this.status!));
  }

  /** A 404 without the provider's error body comes from a proxy, and proves nothing. */
  get isNotFound(): boolean {
    return this.status === 404 && this.code !== undefined;
  }
}

export type Send = typeof fetch;

/**
 * Sends the requests that the official SDKs build, with a time-out, retries and cancellation. Neither SDK does this
 * reliably; README.md lists the faults.
 */
export class BillingHttpClient {
  /** Both providers return up to 100 items a page. */
  readonly limits = { pageSize: 100, timeoutMs: 10_000, firstPauseMs: 500, longestPauseMs: 60_000, pause };

  constructor(
    private readonly provider: BillingProviderName,
    /** Returns undefined for a body that is not the provider's. */
    private readonly parseErrorBody: (answer: object) => ProviderErrorBody | undefined,
  ) {}

  /** A call without side effects, retried after retryable failures. */
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

  /** As `read`, but returns undefined if the provider itself reports that the object does not exist. */
  async find<T>(operation: string, call: (send: Send) => Promise<T>, signal?: AbortSignal): Promise<T | undefined> {
    try {
      return await this.read(operation, call, signal);
    } catch (error) {
      if (error instanceof ProviderRequestRejected && error.isNotFound) return undefined;
      throw error;
    }
  }

  /**
   * A call with side effects, tried once; the caller retries. Neither provider guarantees to honor the idempotency key,
   * so a duplicate must be harmless: an unpaid checkout, or an object with an id of ours.
   */
  async write<T>(
    operation: string,
    call: (send: Send) => Promise<T>,
    options: { idempotencyKey?: string; signal?: AbortSignal } = {},
  ): Promise<T> {
    return this.once(operation, call, options);
  }

  expect<T>(operation: string, value: T | null | undefined, missing: string): T {
    if (value == null) throw new BillingProviderFailed(this.provider, operation, `the response has no ${missing}`);
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
      // The SDK wraps our error.
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
      if (answer === undefined) throw new BillingProviderFailed(this.provider, operation, 'the response is not a JSON object');
      return Response.json(answer, { headers: dateHeader(response) });
    } catch (error) {
      if (error instanceof BillingProviderFailed) throw error;
      const reason = timeout.aborted ? `no response within ${timeoutMs} ms` : 'no response';
      throw new BillingProviderFailed(this.provider, operation, reason, { isRetryable: true, cause: error });
    }
  }

  private retryDelayMs(tries: number, { retryAfterSeconds }: BillingProviderFailed): number {
    const { firstPauseMs, longestPauseMs } = this.limits;
    const backoff = firstPauseMs * 2 ** (tries - 1) * (0.5 + Math.random() / 2);
    return Math.min(longestPauseMs, Math.max(backoff, retryAfterSeconds * 1000));
  }
}

function dateHeader({ headers }: Response): Record<string, string> {
  const date = headers.get('date');
  return date === null ? {} : { date };
}

/** Returns undefined for anything else, such as an HTML page of a proxy. */
function parseJsonObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

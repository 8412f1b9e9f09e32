import { setTimeout as pause } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { Config } from '../../platform/config/config.js';
import { ClerkApiFailed } from './clerk.errors.js';

const PUBLIC_URL = 'https://api.clerk.com';
const API_VERSION = '2026-05-12';

/** A rate limit is retried more often, since its response says when. */
const MAX_TRIES = 4;
const MAX_RATE_LIMITED_TRIES = 10;

/** The statuses of a session that can still be revoked. */
const LIVE_SESSION_STATUSES = ['active', 'pending'];

export const MAX_IDS_PER_CALL = 100;

/** The same JSON as in webhooks. `ClerkSync` parses it. */
export interface ClerkObject {
  object: string;
  id: string;
  [field: string]: unknown;
}

interface Page {
  limit: number;
  offset?: number;
  created_at_after?: number;
}

type Query = Record<string, string | number | string[] | undefined>;

interface Call {
  method?: 'GET' | 'POST';
  path: string;
  query?: Query;
  signal?: AbortSignal;
  tries?: number;
}

/**
 * Clerk's Backend API: https://clerk.com/docs/reference/backend-api. A failure always throws and never looks like an empty list, since the
 * reconciler deletes missing objects. Clerk's own client hides raw memberships, counts before each page, and cannot be aborted.
 */
@Injectable()
export class ClerkApi {
  /** Clerk returns up to 500 items a page. Pages overlap by one, so the minimum is 2. */
  readonly limits = { pageSize: 500, timeoutMs: 10_000, firstPauseMs: 500, longestPauseMs: 60_000, pause };

  constructor(private readonly config: Config) {}

  get isConfigured(): boolean {
    return this.config.clerkApi !== undefined;
  }

  /** All users, oldest first. One may appear twice. */
  listAllUsers(signal?: AbortSignal): AsyncGenerator<ClerkObject, void> {
    // Large offsets are slow and may time out, by Clerk's documentation.
    return this.paginate((page) => this.listUsers({ ...page, order_by: '+created_at' }, signal), { byTime: true });
  }

  /** All organizations, oldest first. One may appear twice. */
  listAllOrganizations(signal?: AbortSignal): AsyncGenerator<ClerkObject, void> {
    return this.paginate((page) => this.listOrganizations({ ...page, order_by: '+created_at' }, signal));
  }

  /** All memberships of an organization, oldest first; none if it does not exist. One may appear twice. */
  listAllMemberships(organizationId: string, signal?: AbortSignal): AsyncGenerator<ClerkObject, void> {
    return this.paginate((page) => this.listMemberships(organizationId, { ...page, order_by: '+created_at' }, signal));
  }

  /** The existing users among at most `MAX_IDS_PER_CALL` ids. */
  async findUsers(ids: string[], signal?: AbortSignal): Promise<ClerkObject[]> {
    return this.listUsers({ user_id: ids, limit: MAX_IDS_PER_CALL }, signal);
  }

  async findOrganizations(ids: string[], signal?: AbortSignal): Promise<ClerkObject[]> {
    return this.listOrganizations({ organization_id: ids, limit: MAX_IDS_PER_CALL }, signal);
  }

  /** The memberships of at most `MAX_IDS_PER_CALL` users in an organization. */
  async findMemberships(organizationId: string, clerkUserIds: string[], signal?: AbortSignal): Promise<ClerkObject[]> {
    return this.listMemberships(organizationId, { user_id: clerkUserIds, limit: MAX_IDS_PER_CALL }, signal);
  }

  async findUser(id: string, signal?: AbortSignal): Promise<ClerkObject | undefined> {
    return this.find('read a user', 'user', { path: `users/${encodeURIComponent(id)}`, signal });
  }

  async findOrganization(id: string, signal?: AbortSignal): Promise<ClerkObject | undefined> {
    return this.find('read an organization', 'organization', { path: `organizations/${encodeURIComponent(id)}`, signal });
  }

  /** Filters a list, since Clerk has no route for a single membership. */
  async findMembership(
    organizationId: string,
    clerkUserId: string,
    membershipId: string,
    signal?: AbortSignal,
  ): Promise<ClerkObject | undefined> {
    return (await this.findMemberships(organizationId, [clerkUserId], signal)).find(({ id }) => id === membershipId);
  }

  /** The Clerk instance of the secret key. */
  async getInstanceId(signal?: AbortSignal): Promise<string> {
    const operation = 'read the instance';
    return checked(operation, 'instance', await this.call(operation, { path: 'instance', signal })).id;
  }

  /** Revokes a session. Succeeds if it has ended or does not exist. Tried once, since the outbox retries. */
  async revokeSession(id: string): Promise<void> {
    const path = `sessions/${encodeURIComponent(id)}`;
    try {
      await this.call('revoke a session', { method: 'POST', path: `${path}/revoke`, tries: 1 });
    } catch (error) {
      if (!(error instanceof ClerkApiFailed)) throw error;
      if (error.isNotFound) return;
      // Clerk refuses to revoke an ended session with a 400, but not only that.
      if (error.status !== 400) throw error;
      const session = await this.find('read a session', 'session', { path, tries: 1 });
      if (session !== undefined && LIVE_SESSION_STATUSES.includes(String(session['status']))) throw error;
    }
  }

  private async listUsers(query: Query, signal?: AbortSignal): Promise<ClerkObject[]> {
    const operation = 'list users';
    return checkedList(operation, 'user', await this.call(operation, { path: 'users', query, signal }));
  }

  private async listOrganizations(query: Query, signal?: AbortSignal): Promise<ClerkObject[]> {
    const operation = 'list organizations';
    return checkedList(operation, 'organization', dataOf(await this.call(operation, { path: 'organizations', query, signal })));
  }

  private async listMemberships(organizationId: string, query: Query, signal?: AbortSignal): Promise<ClerkObject[]> {
    const operation = 'list memberships';
    const path = `organizations/${encodeURIComponent(organizationId)}/memberships`;
    const list = this.call(operation, { path, query, signal }).then((answer) =>
      checkedList(operation, 'organization_membership', dataOf(answer)),
    );
    return (await undefinedIfNotFound(list)) ?? [];
  }

  private async find(operation: string, kind: string, call: Call): Promise<ClerkObject | undefined> {
    return undefinedIfNotFound(this.call(operation, call).then((answer) => checked(operation, kind, answer)));
  }

  /**
   * All pages of a list that is sorted by creation, so that new items come last. A removal shifts later items forward: so pages overlap
   * by one, and a page without the overlap is requested again from further ahead.
   * @param options.byTime pages can start at a creation time, which no removal shifts
   */
  private async *paginate(
    list: (page: Page & Query) => Promise<ClerkObject[]>,
    { byTime = false } = {},
  ): AsyncGenerator<ClerkObject, void> {
    const limit = this.limits.pageSize;
    let from: Omit<Page, 'limit'> = {};
    let seen = new Set<string>();
    for (;;) {
      const { offset = 0, created_at_after: after = 0 } = from;
      const page = await list({ limit, ...from });
      if (offset > 0 && (page[0] === undefined || !seen.has(page[0].id))) {
        from = { ...from, offset: Math.max(0, offset - (limit - 1)) };
        continue;
      }
      for (const item of page) if (!seen.has(item.id)) yield item;
      const last = page.at(-1);
      if (last === undefined || page.length < limit) return;
      seen = new Set(page.map(({ id }) => id));
      // Items of the same millisecond may be on the next page, so it starts just before.
      const time = Number(last['created_at']) - 1;
      from = byTime && time > after ? { created_at_after: time } : { ...from, offset: offset + limit - 1 };
    }
  }

  /** Retries after retryable failures. */
  private async call(operation: string, { signal, tries = MAX_TRIES, ...call }: Call): Promise<unknown> {
    for (let tryCount = 1; ; tryCount += 1) {
      signal?.throwIfAborted();
      try {
        return await this.request(operation, call, signal);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof ClerkApiFailed) || !error.isRetryable) throw error;
        if (tryCount >= (error.status === 429 && tries > 1 ? MAX_RATE_LIMITED_TRIES : tries)) throw error;
        await this.limits.pause(this.retryDelayMs(tryCount, error), undefined, { signal });
      }
    }
  }

  private retryDelayMs(tryCount: number, { retryAfterSeconds }: ClerkApiFailed): number {
    const { firstPauseMs, longestPauseMs } = this.limits;
    const backoff = firstPauseMs * 2 ** (tryCount - 1) * (0.5 + Math.random() / 2);
    return Math.min(longestPauseMs, Math.max(backoff, retryAfterSeconds * 1000));
  }

  private async request(operation: string, { method = 'GET', path, query = {} }: Call, signal?: AbortSignal): Promise<unknown> {
    const { clerkApi } = this.config;
    if (clerkApi === undefined) throw new Error('CLERK_SECRET_KEY is not set');
    const url = new URL(`/v1/${path}`, clerkApi.url ?? PUBLIC_URL);
    for (const [name, value] of Object.entries(query)) for (const one of [value ?? []].flat()) url.searchParams.append(name, String(one));
    const timeout = AbortSignal.timeout(this.limits.timeoutMs);
    try {
      const response = await fetch(url, {
        method,
        headers: { authorization: `Bearer ${clerkApi.secretKey}`, 'clerk-api-version': API_VERSION, accept: 'application/json' },
        redirect: 'error',
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      });
      const answer = parseJson(await response.text());
      if (response.ok) return answer;
      throw toApiError(operation, response, answer);
    } catch (error) {
      if (error instanceof ClerkApiFailed) throw error;
      const reason = timeout.aborted ? `no response within ${this.limits.timeoutMs} ms` : 'no response';
      throw new ClerkApiFailed(operation, reason, { isRetryable: true, cause: error });
    }
  }
}

/** https://clerk.com/docs/guides/development/errors/backend-api */
interface ClerkErrors {
  errors: { code: string; message?: string; long_message?: string }[];
  clerk_trace_id?: string;
}

function toApiError(operation: string, { status, headers }: Response, answer: unknown): ClerkApiFailed {
  const { errors, clerk_trace_id: trace } = isErrors(answer) ? answer : { errors: [] };
  const messages = errors.map(({ code, message, long_message: longMessage }) => `${code} (${longMessage ?? message ?? ''})`);
  return new ClerkApiFailed(operation, [status, ...messages, ...(trace === undefined ? [] : [`trace ${trace}`])].join(', '), {
    status,
    // A 404 without Clerk's error body comes from a proxy, and proves nothing.
    isNotFound: status === 404 && messages.length > 0,
    retryAfterSeconds: Number(headers.get('retry-after')) || 0,
    isRetryable: status === 429 || status >= 500,
  });
}

function isErrors(answer: unknown): answer is ClerkErrors {
  const { errors } = (answer ?? {}) as Partial<ClerkErrors>;
  return Array.isArray(errors) && errors.every((one) => typeof one?.code === 'string');
}

/** Returns undefined for anything else, such as an HTML page of a proxy. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function dataOf(answer: unknown): unknown {
  return (answer as { data?: unknown } | null | undefined)?.data;
}

function isObject(item: unknown, kind: string): item is ClerkObject {
  const { object, id } = (item ?? {}) as Partial<ClerkObject>;
  return object === kind && typeof id === 'string';
}

function checked(operation: string, kind: string, answer: unknown): ClerkObject {
  if (!isObject(answer, kind)) throw new ClerkApiFailed(operation, `the response is not a ${kind}`);
  return answer;
}

function checkedList(operation: string, kind: string, answer: unknown): ClerkObject[] {
  if (!Array.isArray(answer) || !answer.every((one) => isObject(one, kind)))
    throw new ClerkApiFailed(operation, 'the response is not a list of them');
  return answer;
}

async function undefinedIfNotFound<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ClerkApiFailed && error.isNotFound) return undefined;
    throw error;
  }
}

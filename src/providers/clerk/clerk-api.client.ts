import { setTimeout as pause } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { Config } from '../../platform/config/config.js';
import { ClerkApiFailed } from './clerk.errors.js';

const PUBLIC_URL = 'https://api.clerk.com';
const API_VERSION = '2026-05-12';

/** Network errors, time-outs and 5xx; Clerk's rate limit is asked more often, since it says when to come again. */
const MAX_TRIES = 4;
const MAX_RATE_LIMITED_TRIES = 10;

/** The statuses of a session that can still be revoked. */
const LIVE_SESSION_STATUSES = ['active', 'pending'];

/** How many ids Clerk takes to look for. */
export const MAX_IDS_PER_CALL = 100;

/** The published JSON, the same as in webhooks; `ClerkSync` reads the rest. */
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
 * Clerk's Backend API (https://clerk.com/docs/reference/backend-api), for reconciling and for ending sessions.
 *
 * A failure is an error always, never an empty list: what is missing here may get deleted there. Clerk's own
 * client hides raw memberships, counts before each page, and cannot be aborted.
 */
@Injectable()
export class ClerkApi {
  /** How calls behave. Clerk gives pages of up to 500; they overlap, so 2 is the least. */
  readonly limits = { pageSize: 500, timeoutMs: 10_000, firstPauseMs: 500, longestPauseMs: 60_000, pause };

  constructor(private readonly config: Config) {}

  get isConfigured(): boolean {
    return this.config.clerkApi !== undefined;
  }

  /** All users, oldest first; one may come twice. */
  listAllUsers(signal?: AbortSignal): AsyncGenerator<ClerkObject, void> {
    // A large offset gets slower and times out in the end, says the API's description.
    return this.paginate((page) => this.listUsers({ ...page, order_by: '+created_at' }, signal), { byTime: true });
  }

  /** All organizations, oldest first; one may come twice. */
  listAllOrganizations(signal?: AbortSignal): AsyncGenerator<ClerkObject, void> {
    return this.paginate((page) => this.listOrganizations({ ...page, order_by: '+created_at' }, signal));
  }

  /** All memberships of an organization, oldest first; none if it is gone. One may come twice. */
  listAllMemberships(organizationId: string, signal?: AbortSignal): AsyncGenerator<ClerkObject, void> {
    return this.paginate((page) => this.listMemberships(organizationId, { ...page, order_by: '+created_at' }, signal));
  }

  /** Those who exist of at most `MAX_IDS_PER_CALL`. */
  async findUsers(ids: string[], signal?: AbortSignal): Promise<ClerkObject[]> {
    return this.listUsers({ user_id: ids, limit: MAX_IDS_PER_CALL }, signal);
  }

  async findOrganizations(ids: string[], signal?: AbortSignal): Promise<ClerkObject[]> {
    return this.listOrganizations({ organization_id: ids, limit: MAX_IDS_PER_CALL }, signal);
  }

  /** What at most `MAX_IDS_PER_CALL` users have of an organization. */
  async findMemberships(organizationId: string, clerkUserIds: string[], signal?: AbortSignal): Promise<ClerkObject[]> {
    return this.listMemberships(organizationId, { user_id: clerkUserIds, limit: MAX_IDS_PER_CALL }, signal);
  }

  async findUser(id: string, signal?: AbortSignal): Promise<ClerkObject | undefined> {
    return this.find('read a user', 'user', { path: `users/${encodeURIComponent(id)}`, signal });
  }

  async findOrganization(id: string, signal?: AbortSignal): Promise<ClerkObject | undefined> {
    return this.find('read an organization', 'organization', { path: `organizations/${encodeURIComponent(id)}`, signal });
  }

  /** Clerk has no route to one membership; an unknown organization has none. */
  async findMembership(
    organizationId: string,
    clerkUserId: string,
    membershipId: string,
    signal?: AbortSignal,
  ): Promise<ClerkObject | undefined> {
    return (await this.findMemberships(organizationId, [clerkUserId], signal)).find(({ id }) => id === membershipId);
  }

  /** The Clerk instance that the secret key opens. */
  async getInstanceId(signal?: AbortSignal): Promise<string> {
    const operation = 'read the instance';
    return checked(operation, 'instance', await this.call(operation, { path: 'instance', signal })).id;
  }

  /** Ends a session at Clerk; one that is unknown there, or over, is fine. Tried once: the outbox comes again. */
  async revokeSession(id: string): Promise<void> {
    const path = `sessions/${encodeURIComponent(id)}`;
    try {
      await this.call('revoke a session', { method: 'POST', path: `${path}/revoke`, tries: 1 });
    } catch (error) {
      if (!(error instanceof ClerkApiFailed)) throw error;
      if (error.isNotFound) return;
      // Clerk refuses to revoke what is over (`invalid_action_for_session`); what else it refuses is not said by that.
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
   * Every page of a list that is sorted by time, so that what is added meanwhile comes at its end. What is
   * removed meanwhile makes the rest move up: pages overlap by one, and one that does not begin with what was
   * seen is asked for again from further ahead.
   *
   * @param options.byTime whether a page can begin at a time, too, which no removal moves
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
      // Of several of one millisecond some may be on the next page: it begins just before.
      const time = Number(last['created_at']) - 1;
      from = byTime && time > after ? { created_at_after: time } : { ...from, offset: offset + limit - 1 };
    }
  }

  /** One call, repeated while that may help. */
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
      const reason = timeout.aborted ? `no answer within ${this.limits.timeoutMs} ms` : 'no answer';
      throw new ClerkApiFailed(operation, reason, { isRetryable: true, cause: error });
    }
  }
}

/** How Clerk says no: https://clerk.com/docs/guides/development/errors/backend-api */
interface ClerkErrors {
  errors: { code: string; message?: string; long_message?: string }[];
  clerk_trace_id?: string;
}

function toApiError(operation: string, { status, headers }: Response, answer: unknown): ClerkApiFailed {
  const { errors, clerk_trace_id: trace } = isErrors(answer) ? answer : { errors: [] };
  const messages = errors.map(({ code, message, long_message: longMessage }) => `${code} (${longMessage ?? message ?? ''})`);
  return new ClerkApiFailed(operation, [status, ...messages, ...(trace === undefined ? [] : [`trace ${trace}`])].join(', '), {
    status,
    // A 404 without Clerk's words is not Clerk's, and says nothing about what it knows.
    isNotFound: status === 404 && messages.length > 0,
    retryAfterSeconds: Number(headers.get('retry-after')) || 0,
    isRetryable: status === 429 || status >= 500,
  });
}

function isErrors(answer: unknown): answer is ClerkErrors {
  const { errors } = (answer ?? {}) as Partial<ClerkErrors>;
  return Array.isArray(errors) && errors.every((one) => typeof one?.code === 'string');
}

/** Undefined for what is none: a page of whoever stands in between. */
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
  if (!isObject(answer, kind)) throw new ClerkApiFailed(operation, `the answer is no ${kind}`);
  return answer;
}

function checkedList(operation: string, kind: string, answer: unknown): ClerkObject[] {
  if (!Array.isArray(answer) || !answer.every((one) => isObject(one, kind)))
    throw new ClerkApiFailed(operation, 'the answer is no list of them');
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

import { type Answer, answerOf, type Call, startSimulatedApi } from './simulated-api.js';

/** An object in Clerk's published format. Only these fields are read; the rest is passed on. */
export interface ClerkObject {
  id: string;
  created_at: number;
  [field: string]: unknown;
}

export interface ClerkMembership extends ClerkObject {
  organization: { id: string; [field: string]: unknown };
  /** Not required by the published schema. */
  public_user_data?: { user_id: string; [field: string]: unknown };
}

export interface ClerkSession extends ClerkObject {
  status: string;
}

/** The format and the codes are published: https://clerk.com/docs/guides/development/errors/backend-api */
const refusal = (status: number, code: string, message: string, headers?: Record<string, string>): Answer => ({
  status,
  body: { errors: [{ message, long_message: message, code }], clerk_trace_id: 'trace_simulated' },
  headers,
});

const notFound = (id: string) => refusal(404, 'resource_not_found', `Nothing was found with id ${id}`);

/**
 * The used part of Clerk's Backend API according to its description (clerk/openapi-specs, bapi 2026-05-12), on a local server. The maps are
 * Clerk's state; tests change them directly.
 */
export async function startClerkApiSimulator({ secretKey = 'sk_test_simulated', instanceId = 'ins_simulated' } = {}) {
  const users = new Map<string, ClerkObject>();
  const organizations = new Map<string, ClerkObject>();
  const memberships = new Map<string, ClerkMembership>();
  const sessions = new Map<string, ClerkSession>();

  const membershipsOf = (organizationId: string, query: URLSearchParams): Answer => {
    if (!organizations.has(organizationId)) return notFound(organizationId);
    const userIds = query.getAll('user_id');
    const all = [...memberships.values()].filter(
      ({ organization, public_user_data: member }) =>
        organization.id === organizationId && (userIds.length === 0 || userIds.includes(member?.user_id ?? '')),
    );
    return paginated(all, query);
  };

  const revoke = (id: string): Answer => {
    const session = sessions.get(id);
    if (session === undefined) return notFound(id);
    if (!['active', 'pending'].includes(session.status))
      return refusal(400, 'invalid_action_for_session', `Unable to revoke session ${id}`);
    sessions.set(id, { ...session, status: 'revoked', updated_at: Date.now() });
    return answerOf(sessions.get(id));
  };

  const answer = ({ method, path: [version, collection, id = '', part], query }: Call): Answer => {
    if (version !== 'v1') return notFound(String(version));
    const createdAfter = Number(query.get('created_at_after') ?? Number.NEGATIVE_INFINITY);
    const userIds = query.getAll('user_id');
    const organizationIds = query.getAll('organization_id');
    if (Math.max(userIds.length, organizationIds.length) > 100) return refusal(422, 'form_param_value_invalid', 'too many ids');
    const among = (ids: string[]) => (object: ClerkObject) => ids.length === 0 || ids.includes(object.id);
    const listedUsers = [...users.values()].filter((user) => user.created_at > createdAfter).filter(among(userIds));
    switch (`${method} ${collection}${id === '' ? '' : '/…'}${part === undefined ? '' : `/${part}`}`) {
      case 'GET instance':
        return answerOf({
          object: 'instance',
          id: instanceId,
          environment_type: 'development',
          allowed_origins: null,
          workspace_id: null,
        });
      case 'GET users':
        return pageOf(listedUsers, query);
      case 'GET users/…':
        // All Clerk ids have a prefix, so no user has the id "count".
        if (id === 'count') return answerOf({ object: 'total_count', total_count: listedUsers.length });
        return users.has(id) ? answerOf(users.get(id)) : notFound(id);
      case 'GET users/…/organization_memberships':
        if (!users.has(id)) return notFound(id);
        return paginated(
          [...memberships.values()].filter(({ public_user_data: member }) => member?.user_id === id),
          query,
        );
      case 'GET organizations':
        return paginated([...organizations.values()].filter(among(organizationIds)), query);
      case 'GET organizations/…':
        return organizations.has(id) ? answerOf(organizations.get(id)) : notFound(id);
      case 'GET organizations/…/memberships':
        return membershipsOf(id, query);
      case 'GET sessions/…':
        return sessions.has(id) ? answerOf(sessions.get(id)) : notFound(id);
      case 'POST sessions/…/revoke':
        return revoke(id);
      default:
        return notFound(String(collection));
    }
  };

  const api = await startSimulatedApi({
    token: secretKey,
    answer,
    unauthorized: () => refusal(401, 'clerk_key_invalid', 'The provided Clerk Secret Key is invalid.'),
    tooMany: (seconds) =>
      refusal(429, 'too_many_requests', 'Too many requests. Please try again in a bit.', { 'retry-after': String(seconds) }),
    failure: (status) => refusal(status, 'simulated_failure', 'Simulated failure'),
  });

  return { ...api, secretKey, instanceId, users, organizations, memberships, sessions };
}

export type ClerkApiSimulator = Awaited<ReturnType<typeof startClerkApiSimulator>>;

/** A page, or 422: `limit` is 1 to 500, by default 10, newest first by default. */
function pageOf(all: ClerkObject[], query: URLSearchParams): Answer {
  const limit = Number(query.get('limit') ?? 10);
  const offset = Number(query.get('offset') ?? 0);
  const isGood = Number.isInteger(limit) && limit >= 1 && limit <= 500 && Number.isInteger(offset) && offset >= 0;
  const [, sign, field] = /^([+-]?)(.+)$/.exec(query.get('order_by') ?? '-created_at')!;
  if (!isGood || field !== 'created_at') return refusal(422, 'form_param_value_invalid', 'limit, offset or order_by is invalid');
  const oldestFirst = all.toSorted((a, b) => a.created_at - b.created_at || (a.id < b.id ? -1 : 1));
  return answerOf((sign === '-' ? oldestFirst.toReversed() : oldestFirst).slice(offset, offset + limit));
}

function paginated(all: ClerkObject[], query: URLSearchParams): Answer {
  const page = pageOf(all, query);
  return page.status === 200 ? answerOf({ data: page.body, total_count: all.length }) : page;
}

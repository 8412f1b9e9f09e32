import { loadConfig } from '../../../src/platform/config/config.js';
import { ClerkApi } from '../../../src/providers/clerk/clerk-api.client.js';
import { type ClerkMembership, type ClerkObject, type ClerkApiSimulator, startClerkApiSimulator } from '../../simulators/clerk-api.js';
import { testEnvironment } from '../../support/app.js';

/** A client that records its pauses instead of waiting. */
function clientOf(environment: Record<string, string>) {
  const api = new ClerkApi(loadConfig({ ...testEnvironment('postgres://localhost/none'), ...environment }));
  const pauses: number[] = [];
  Object.assign(api.limits, {
    pause: (ms: number) => {
      pauses.push(ms);
      return Promise.resolve();
    },
  });
  return { api, pauses };
}

const idsOf = async (things: AsyncIterable<unknown>): Promise<string[]> => {
  const ids: string[] = [];
  for await (const thing of things) ids.push((thing as ClerkObject).id);
  return ids;
};

const user = (id: string, createdAt: number): ClerkObject => ({
  object: 'user',
  id,
  created_at: createdAt,
  updated_at: createdAt,
  email_addresses: [],
});

const organization = (id: string, createdAt: number): ClerkObject => ({
  object: 'organization',
  id,
  name: id,
  created_at: createdAt,
  updated_at: createdAt,
});

const membership = (id: string, organizationId: string, userId: string, createdAt: number): ClerkMembership => ({
  object: 'organization_membership',
  id,
  role: 'org:member',
  created_at: createdAt,
  updated_at: createdAt,
  organization: organization(organizationId, 1),
  public_user_data: { user_id: userId, identifier: `${userId}@example.com` },
});

describe('the Clerk client', () => {
  let clerk: ClerkApiSimulator;
  let api: ClerkApi;
  let pauses: number[];

  const add = (into: Map<string, ClerkObject>, ...things: ClerkObject[]) => {
    for (const thing of things) into.set(thing.id, thing);
  };
  const callsOf = (part: string) => clerk.calls.filter((call) => call.includes(part));
  /** Runs an action once, at the first matching call. */
  const once = (part: string, action: () => void) => {
    clerk.control.onCall = (call) => {
      if (!call.includes(part)) return;
      clerk.control.onCall = undefined;
      action();
    };
  };

  beforeEach(async () => {
    clerk = await startClerkApiSimulator();
    ({ api, pauses } = clientOf({ CLERK_SECRET_KEY: clerk.secretKey, CLERK_API_URL: clerk.url }));
  });
  afterEach(() => clerk.close());

  describe('when it lists', () => {
    const seven = ['1', '2', '3', '4', '5', '6', '7'];
    beforeEach(() => {
      api.limits.pageSize = 3;
    });

    it('returns all users as the published JSON, oldest first, page by page', async () => {
      add(clerk.users, ...seven.map((id) => user(id, 1000 + Number(id))).toReversed());
      const things: unknown[] = [];
      for await (const thing of api.listAllUsers()) things.push(thing);
      expect(things).toEqual(seven.map((id) => clerk.users.get(id)));
      expect(callsOf('/v1/users?limit=3').length).toBeGreaterThan(2);
    });

    it('returns all of many users with the same creation time', async () => {
      add(clerk.users, user('0', 999), ...seven.map((id) => user(id, 1000)), user('8', 1001));
      expect(await idsOf(api.listAllUsers())).toEqual(['0', ...seven, '8']);
    });

    it('returns all organizations, and all memberships of one', async () => {
      add(clerk.organizations, ...seven.map((id) => organization(id, 1000 + Number(id))));
      add(clerk.memberships, ...seven.map((id) => membership(`m${id}`, '1', id, 1000 + Number(id))), membership('other', '2', '1', 1));
      expect(await idsOf(api.listAllOrganizations())).toEqual(seven);
      // One call for the first three, then one for each two more.
      expect(clerk.calls).toHaveLength(4);
      expect(await idsOf(api.listAllMemberships('1'))).toEqual(seven.map((id) => `m${id}`));
      expect(await idsOf(api.listAllMemberships('2'))).toEqual(['other']);
    });

    it('returns an empty list when there is nothing', async () => {
      expect(await idsOf(api.listAllUsers())).toEqual([]);
      expect(await idsOf(api.listAllOrganizations())).toEqual([]);
      expect(await idsOf(api.listAllMemberships('unknown'))).toEqual([]);
    });

    it('returns objects that are added meanwhile', async () => {
      add(clerk.users, ...seven.map((id) => user(id, 1000 + Number(id))));
      add(clerk.organizations, ...seven.map((id) => organization(id, 1000 + Number(id))));
      once('created_at_after', () => add(clerk.users, user('8', 2000), user('9', 2001)));
      expect(await idsOf(api.listAllUsers())).toEqual([...seven, '8', '9']);
      once('offset', () => add(clerk.organizations, organization('8', 2000), organization('9', 2001)));
      expect(await idsOf(api.listAllOrganizations())).toEqual([...seven, '8', '9']);
    });

    it.each([
      ['the object at the edge of a page', ['3']],
      ['part of the first page', ['1', '2']],
      ['the whole first page', ['1', '2', '3']],
      ['more than a page', ['1', '2', '3', '4', '5']],
    ])('misses no other object when %s is deleted meanwhile', async (_what, removed) => {
      add(clerk.users, ...seven.map((id) => user(id, 1000 + Number(id))));
      add(clerk.organizations, ...seven.map((id) => organization(id, 1000 + Number(id))));
      const left = seven.filter((id) => !removed.includes(id));
      const removeFrom = (from: Map<string, ClerkObject>) => () => removed.forEach((id) => from.delete(id));
      once('created_at_after', removeFrom(clerk.users));
      expect(await idsOf(api.listAllUsers())).toEqual(expect.arrayContaining(left));
      once('offset', removeFrom(clerk.organizations));
      expect(await idsOf(api.listAllOrganizations())).toEqual(expect.arrayContaining(left));
    });

    it('stops without another call when the signal aborts', async () => {
      add(clerk.organizations, ...seven.map((id) => organization(id, 1000 + Number(id))));
      const stopping = new AbortController();
      once('offset', () => stopping.abort(new Error('enough')));
      await expect(idsOf(api.listAllOrganizations(stopping.signal))).rejects.toThrow('enough');
      expect(clerk.calls).toHaveLength(2);
    });

    it('stops while Clerk does not respond', async () => {
      const stopping = new AbortController();
      clerk.faults.push('hang');
      once('organizations', () => stopping.abort(new Error('enough')));
      await expect(idsOf(api.listAllOrganizations(stopping.signal))).rejects.toThrow('enough');
    });

    it.each([
      ['an HTML page', { status: 200, body: '<html>Welcome</html>', contentType: 'text/html' }],
      ['JSON that is not a list', { status: 200, body: '{"ok":true}' }],
      ['a list of other objects', { status: 200, body: '{"data":[{"id":"1"}],"total_count":1}' }],
    ])('fails on %s instead of returning an empty list', async (_what, fault) => {
      clerk.faults.push(fault);
      await expect(idsOf(api.listAllOrganizations())).rejects.toThrow(
        'Clerk could not list organizations: the response is not a list of them',
      );
    });
  });

  describe('when it reads single objects', () => {
    it('returns a user and an organization as the published JSON', async () => {
      add(clerk.users, user('user_1', 1));
      add(clerk.organizations, organization('org_1', 1));
      expect(await api.findUser('user_1')).toEqual(clerk.users.get('user_1'));
      expect(await api.findOrganization('org_1')).toEqual(clerk.organizations.get('org_1'));
    });

    it('returns a membership only by its current id', async () => {
      add(clerk.organizations, organization('org_1', 1));
      add(clerk.memberships, membership('orgmem_2', 'org_1', 'user_1', 2), membership('orgmem_3', 'org_1', 'user_2', 3));
      expect(await api.findMembership('org_1', 'user_1', 'orgmem_2')).toEqual(clerk.memberships.get('orgmem_2'));
      expect(await api.findMembership('org_1', 'user_1', 'orgmem_1')).toBeUndefined();
      expect(await api.findMembership('org_1', 'user_9', 'orgmem_2')).toBeUndefined();
    });

    it('returns undefined for an unknown object', async () => {
      expect(await api.findUser('user_1')).toBeUndefined();
      expect(await api.findOrganization('org_1')).toBeUndefined();
      expect(await api.findMembership('org_1', 'user_1', 'orgmem_1')).toBeUndefined();
    });

    it('fails on a 404 that does not come from Clerk', async () => {
      clerk.faults.push({ status: 404, body: 'Not found', contentType: 'text/plain' });
      await expect(api.findUser('user_1')).rejects.toThrow('Clerk could not read a user: 404');
    });

    it.each([
      ['an HTML page', { status: 200, body: '<html>Welcome</html>', contentType: 'text/html' }],
      ['another object', { status: 200, body: '{"object":"organization","id":"user_1"}' }],
    ])('fails on %s', async (_what, fault) => {
      clerk.faults.push(fault);
      clerk.faults.push(fault);
      await expect(api.findUser('user_1')).rejects.toThrow('Clerk could not read a user: the response is not a user');
      await expect(api.findMembership('org_1', 'user_1', 'orgmem_1')).rejects.toThrow(
        'Clerk could not list memberships: the response is not a list of them',
      );
    });

    it('returns the existing objects of many ids', async () => {
      add(clerk.users, ...Array.from({ length: 120 }, (_, index) => user(`user_${index}`, index + 1)));
      add(clerk.organizations, organization('org_1', 1), organization('org_2', 2));
      add(clerk.memberships, membership('orgmem_1', 'org_1', 'user_1', 1), membership('orgmem_2', 'org_1', 'user_2', 2));
      const ids = Array.from({ length: 100 }, (_, index) => `user_${index + 50}`);
      expect((await api.findUsers(ids)).map(({ id }) => id).toSorted()).toEqual(ids.slice(0, 70).toSorted());
      expect((await api.findOrganizations(['org_2', 'org_3'])).map(({ id }) => id)).toEqual(['org_2']);
      expect((await api.findMemberships('org_1', ['user_2', 'user_3'])).map(({ id }) => id)).toEqual(['orgmem_2']);
      expect(await api.findMemberships('org_9', ['user_2'])).toEqual([]);
    });

    it('returns the id of the instance', async () => {
      expect(await api.getInstanceId()).toBe(clerk.instanceId);
    });
  });

  describe('when it revokes a session', () => {
    const session = (status: string) => ({ object: 'session', id: 'sess_1', created_at: 1, status });

    it('revokes a live session', async () => {
      clerk.sessions.set('sess_1', session('active'));
      await api.revokeSession('sess_1');
      expect(clerk.sessions.get('sess_1')?.status).toBe('revoked');
    });

    it.each(['ended', 'removed', 'revoked', 'expired', 'abandoned', 'replaced'])(
      'succeeds for a session that is already %s',
      async (status) => {
        clerk.sessions.set('sess_1', session(status));
        await api.revokeSession('sess_1');
        expect(clerk.sessions.get('sess_1')?.status).toBe(status);
      },
    );

    it('succeeds for an unknown session', async () => {
      await api.revokeSession('sess_1');
      expect(clerk.calls).toEqual(['POST /v1/sessions/sess_1/revoke']);
    });

    it('calls once, because the outbox retries', async () => {
      clerk.sessions.set('sess_1', session('active'));
      clerk.faults.push({ status: 429, retryAfter: 1 });
      await expect(api.revokeSession('sess_1')).rejects.toThrow('Clerk could not revoke a session: 429');
      expect(clerk.calls).toHaveLength(1);
    });

    it('fails when Clerk refuses for another reason', async () => {
      clerk.sessions.set('sess_1', session('active'));
      clerk.faults.push({ status: 400 });
      await expect(api.revokeSession('sess_1')).rejects.toThrow('Clerk could not revoke a session: 400, simulated_failure');
      expect(clerk.sessions.get('sess_1')?.status).toBe('active');
    });
  });

  describe('when Clerk fails', () => {
    beforeEach(() => {
      add(clerk.users, user('user_1', 1));
    });

    it('retries after the pause that Clerk asks for, at most a minute', async () => {
      clerk.faults.push({ status: 429, retryAfter: 7 }, { status: 429, retryAfter: 3600 });
      expect(await api.findUser('user_1')).toMatchObject({ id: 'user_1' });
      expect(pauses).toEqual([7000, 60_000]);
    });

    it('calls at most ten times while Clerk answers 429', async () => {
      clerk.faults.push(...Array.from({ length: 20 }, () => ({ status: 429, retryAfter: 0 })));
      await expect(api.findUser('user_1')).rejects.toThrow('429, too_many_requests');
      expect(clerk.calls).toHaveLength(10);
      // A pause of zero seconds is raised to the minimum.
      expect(Math.min(...pauses)).toBeGreaterThan(200);
    });

    it('stays within the rate limit', async () => {
      api.limits.pageSize = 2;
      add(clerk.organizations, ...Array.from({ length: 30 }, (_, index) => organization(`org_${index}`, index + 1)));
      clerk.control.rateLimit = { requests: 5, seconds: 3600 };
      Object.assign(api.limits, {
        pause: (ms: number) => {
          pauses.push(ms);
          // The window ends with the pause.
          clerk.control.rateLimit = { requests: 5, seconds: 0 };
          return Promise.resolve();
        },
      });
      expect(await idsOf(api.listAllOrganizations())).toHaveLength(30);
      expect(pauses).toEqual([60_000]);
    });

    it('retries after a 500, a cut connection and a time-out', async () => {
      api.limits.timeoutMs = 2000;
      clerk.faults.push({ status: 500 }, 'cut', 'hang');
      expect(await api.findUser('user_1')).toMatchObject({ id: 'user_1' });
      expect(clerk.calls).toHaveLength(4);
      expect(pauses).toHaveLength(3);
    });

    it('gives up after four failures', async () => {
      clerk.faults.push(...Array.from({ length: 5 }, () => ({ status: 503 })));
      await expect(api.findUser('user_1')).rejects.toThrow(
        'Clerk could not read a user: 503, simulated_failure (Simulated failure), trace trace_simulated',
      );
      expect(clerk.calls).toHaveLength(4);
    });

    it('gives up after four time-outs', async () => {
      api.limits.timeoutMs = 20;
      clerk.faults.push('hang', 'hang', 'hang', 'hang');
      await expect(api.getInstanceId()).rejects.toThrow('Clerk could not read the instance: no response within 20 ms');
    });

    it('gives up when nothing listens', async () => {
      await clerk.close();
      await expect(api.getInstanceId()).rejects.toThrow('Clerk could not read the instance: no response');
      expect(pauses).toHaveLength(3);
    });
  });

  describe('its configuration', () => {
    it('makes no call without a key', async () => {
      const { api: unconfigured } = clientOf({});
      expect(api.isConfigured).toBe(true);
      expect(unconfigured.isConfigured).toBe(false);
      await expect(unconfigured.findUser('user_1')).rejects.toThrow('CLERK_SECRET_KEY is not set');
    });

    it('fails at once on a wrong key, without showing the key', async () => {
      const { api: withWrongKey } = clientOf({ CLERK_SECRET_KEY: 'sk_test_wrong', CLERK_API_URL: clerk.url });
      const failure: unknown = await withWrongKey.findUser('user_1').catch((error: unknown) => error);
      expect(String(failure)).toContain('401, clerk_key_invalid');
      expect(JSON.stringify(failure, Object.getOwnPropertyNames(failure))).not.toContain('sk_test_wrong');
      expect(clerk.calls).toHaveLength(1);
    });
  });
});

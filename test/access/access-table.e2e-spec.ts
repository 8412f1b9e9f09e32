import { declaredScopes } from '../../src/access/scopes.js';
import { type CallerName, CALLERS, type Values } from '../support/expectations.js';
import {
  bodyOf,
  OPERATIONS,
  pathValues,
  queryOf,
  statusesOf,
  statusFor,
  tenantParameters,
  undescribed,
  unknownValues,
  valuesOf,
} from '../support/operations.js';
import { type Answer, call, fill, type Operation, readOperations, withoutRequestId } from '../support/api.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { CLERK_WEBHOOK_SECRET } from '../support/clerk/clerk-events.js';
import { createKey, createPerson, createTenant, holdJobs, skipDailyJob, type Person, type Tenant } from '../support/tenant-world.js';

describe('the access table', () => {
  let t: TestApp;
  let operations: Operation[];
  let shared: Scene;

  /** A tenant and everybody who may call; what a call destroys is nobody else's. */
  interface Scene {
    tenant: Tenant;
    outsider: Person;
    operator: Person;
  }

  beforeAll(async () => {
    t = await startTestApp({
      GOOGLE_CLIENT_ID: 'id',
      GOOGLE_CLIENT_SECRET: 'secret',
      CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET,
    });
    await holdJobs(t.db, ['expire_sessions', 'expire_invitations']);
    // The schedule must not be at it when the operator asks for a run.
    await skipDailyJob(t.db, 'prune_job_runs');
    operations = await readOperations(t.url);
    shared = await createScene();
  });
  afterAll(() => t.close());

  async function createScene(): Promise<Scene> {
    const tenant = await createTenant(t.db);
    return { tenant, outsider: tenant.invited, operator: await createPerson(t.db, 'operator', { operator: true }) };
  }

  async function headersOf(
    caller: CallerName,
    { scopes }: Operation,
    { tenant, outsider, operator }: Scene,
  ): Promise<Record<string, string>> {
    if (caller === 'signedOut') return {};
    if (caller === 'outsider') return outsider.auth;
    if (caller === 'member') return tenant.member.auth;
    if (caller === 'admin') return tenant.admin.auth;
    if (caller === 'operator') return operator.auth;
    // A key without the scope has every other scope, so that none of them grants the access.
    const wanted = declaredScopes().filter((scope) => scopes === undefined || scopes.includes(scope) === (caller === 'keyWithScope'));
    return { ...(await createKey(t.db, tenant, wanted)).auth };
  }

  async function send(operation: Operation, values: Values, headers: Record<string, string>): Promise<Answer> {
    return call(t.url, {
      method: operation.method,
      path: fill(operation, pathValues(operation, values)),
      headers,
      query: queryOf(operation.id, values),
      body: bodyOf(operation.id, values),
    });
  }

  it('describes every operation of the document and no other', () => {
    expect(undescribed(operations)).toEqual([]);
    expect([...OPERATIONS.keys()].toSorted()).toEqual(operations.map(({ id }) => id).toSorted());
  });

  it('names the file that lacks an operation', () => {
    expect(undescribed([{ ...operations[0]!, id: 'listSessionsTwice' }])).toEqual([
      'listSessionsTwice has no expectation: add it to the *.operations.ts file of its module',
    ]);
  });

  it('has a sample body for every operation that takes one', () => {
    expect(operations.filter(({ id, needsBody }) => needsBody && OPERATIONS.get(id)?.body === undefined).map(({ id }) => id)).toEqual([]);
  });

  it.each([...OPERATIONS.keys()])('%s answers each kind of caller as the table says', async (id) => {
    const operation = operations.find((candidate) => candidate.id === id)!;
    const answered: Partial<Record<CallerName, string | number>> = {};
    for (const caller of CALLERS) {
      const expected = statusFor(id, caller);
      const scene = operation.method === 'GET' || expected >= 400 ? shared : await createScene();
      const { status, text, headers } = await send(operation, valuesOf(scene.tenant), await headersOf(caller, operation, scene));
      expect(headers.get('cache-control')).toBe('no-store');
      answered[caller] = status === expected ? status : `${status} ${text.slice(0, 300)}`;
    }
    expect(answered).toEqual(Object.fromEntries(CALLERS.map((caller) => [caller, statusFor(id, caller)])));
  });

  it('gives a caller without access the same response as for an object that does not exist', async () => {
    const compared: string[] = [];
    for (const operation of operations) {
      if (tenantParameters(operation).length === 0) continue;
      for (const caller of CALLERS) {
        if (statusFor(operation.id, caller) !== 404) continue;
        const headers = await headersOf(caller, operation, shared);
        const real = await send(operation, valuesOf(shared.tenant), headers);
        const none = await send(operation, unknownValues(shared.tenant), headers);
        compared.push(`${operation.id} ${caller}`);
        expect([operation.id, caller, real.status, withoutRequestId(real.text), comparable(real.headers)]).toEqual([
          operation.id,
          caller,
          none.status,
          withoutRequestId(none.text),
          comparable(none.headers),
        ]);
      }
    }
    expect(compared).toEqual(expect.arrayContaining(['getOrganization outsider', 'getUser outsider', 'acceptInvitation admin']));
  });

  it('answers 404 to an outsider on every route of an organization that is not the operator’s', () => {
    const tenantRoutes = operations.filter(({ path, id }) => path.includes('{organizationId}') && id !== 'restoreOrganization');
    expect(tenantRoutes.map(({ id }) => [id, statusFor(id, 'outsider')])).toEqual(tenantRoutes.map(({ id }) => [id, 404]));
  });

  it('lets keys in only where the document names scopes', () => {
    for (const { id, scopes, isPublic } of operations) {
      const letsKeyIn = !isPublic && statusFor(id, 'keyWithScope') < 400;
      expect([id, letsKeyIn]).toEqual([id, scopes !== undefined]);
    }
  });

  it('documents every status of the table', () => {
    for (const { id, statuses } of operations) expect([id, ...statuses]).toEqual(expect.arrayContaining([id, ...statusesOf(id)]));
  });

  function comparable(headers: Headers): Record<string, string> {
    const volatile = new Set(['x-request-id', 'date', 'ratelimit']);
    return Object.fromEntries([...headers].filter(([name]) => !volatile.has(name)));
  }
});

import { jest } from '@jest/globals';
import pg from 'pg';
import { OutboxRepository } from '../../src/outbox/outbox.repository.js';
import { OutboxService } from '../../src/outbox/outbox.service.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { type SignedInPerson, signUp, signUpOperator } from '../support/people.js';
import { createOrganization, runJob, verifyEmail } from '../support/tenants.js';

/** Of each kind, due for its job. More than any statement may take at once. */
const ROWS = 1200;
/** Bounds of one statement, whatever the size of the tables. */
const MOST_PARAMETERS = 100;
const MOST_ROWS = 500;

const rowsFor = (start: string) => `${start} FROM generate_series(1, ${ROWS}) n`;

/** Rows that each job removes or changes. $1 is a deleted user, $2 a deleted organization, $3 and $4 are live ones. */
const DUE: Record<string, string[]> = {
  expire_sessions: [
    rowsFor(
      `INSERT INTO sessions (id, user_id, token, expires_at) SELECT gen_random_uuid(), $3, 'expired-' || n, now() - interval '1 second'`,
    ),
  ],
  expire_verifications: [
    rowsFor(
      `INSERT INTO verifications (id, identifier, value, expires_at) SELECT gen_random_uuid(), 'v-' || n, '', now() - interval '1 hour'`,
    ),
  ],
  expire_invitations: [
    rowsFor(`INSERT INTO invitations (id, organization_id, email, role, expires_at)
             SELECT gen_random_uuid(), $4, n || '@expired.example', 'member', now() - interval '1 second'`),
  ],
  purge_organizations: [
    rowsFor(`INSERT INTO organizations (id, name, deleted_at) SELECT gen_random_uuid(), '', now() - interval '100 days'`),
    rowsFor(`INSERT INTO organization_memberships (id, organization_id, user_id, role, clerk_membership_id, deleted_at)
             SELECT gen_random_uuid(), $2, $3, 'member', 'orgmem_' || n, now()`),
    rowsFor(`INSERT INTO invitations (id, organization_id, email, role, status, expires_at, clerk_invitation_id)
             SELECT gen_random_uuid(), $2, n || '@example.com', 'member', 'revoked', now(), 'orginv_' || n`),
    rowsFor(`INSERT INTO api_keys (id, organization_id, created_by, name, prefix, hash, scopes)
             SELECT gen_random_uuid(), $2, $3, 'key', 'key', 'hash-' || n, '{}'`),
    `UPDATE organizations SET deleted_at = now() - interval '200 days' WHERE id = $2`,
  ],
  purge_users: [
    rowsFor(`INSERT INTO users (id, name, deleted_at) SELECT gen_random_uuid(), '', now() - interval '100 days'`),
    rowsFor(`INSERT INTO organization_memberships (id, organization_id, user_id, role, clerk_membership_id, deleted_at)
             SELECT gen_random_uuid(), $4, $1, 'member', 'orgmem_of_user_' || n, now()`),
    rowsFor(`INSERT INTO sessions (id, user_id, token, expires_at) SELECT gen_random_uuid(), $1, 'live-' || n, now() + interval '1 day'`),
    rowsFor(`INSERT INTO audit_log (id, actor_kind, actor_id, action, target_type, target_id, changes, ip_address)
             SELECT gen_random_uuid(), 'user', $1, 'user.updated', 'user', $1, '{}', '10.0.0.1'`),
    `UPDATE users SET deleted_at = now() - interval '200 days' WHERE id = $1`,
  ],
  prune_audit_log: [
    rowsFor(`INSERT INTO audit_log (id, actor_kind, action, target_type, target_id, created_at)
             SELECT gen_random_uuid(), 'system', 'user.updated', 'user', n::text, now() - interval '500 days'`),
  ],
  prune_outbox: [
    rowsFor(
      `INSERT INTO outbox (id, kind, payload, next_attempt_at, done_at) SELECT gen_random_uuid(), 'k', '', NULL, now() - interval '8 days'`,
    ),
  ],
  prune_idempotency_keys: [
    rowsFor(`INSERT INTO idempotency_keys (principal, method, route, key, request_hash, answer, created_at)
             SELECT 'p', 'POST', '/v1', n::text, '', '', now() - interval '2 days'`),
  ],
  prune_job_runs: [
    rowsFor(`INSERT INTO job_runs (id, job, tick, holder, leased_until, finished_at)
             SELECT gen_random_uuid(), 'old', now() - n * interval '1 day', gen_random_uuid(), now(), now() - interval '40 days'`),
  ],
  sweep_rate_limits: [rowsFor(`INSERT INTO rate_limits (key, whole_at) SELECT 'full-' || n, now() - interval '1 second'`)],
  expire_holds: [
    rowsFor(`INSERT INTO usage_holds (id, owner_id, period_start, tokens, model, status, expires_at)
             SELECT gen_random_uuid(), $4, '2026-01-01Z', 1, 'm', 'live', now() - interval '1 hour'`),
    `INSERT INTO usage_quotas (owner_id, owner_kind, period_start, period_end, held) VALUES ($4, 'organization', '2026-01-01Z', '2026-02-01Z', ${ROWS})`,
  ],
  prune_holds: [
    rowsFor(`INSERT INTO usage_holds (id, owner_id, period_start, tokens, model, status, expires_at, updated_at)
             SELECT gen_random_uuid(), $4, '2026-01-01Z', 1, 'm', 'released', now(), now() - interval '40 days'`),
  ],
  end_subscriptions: [
    rowsFor(`INSERT INTO organizations (id, name, slug, deleted_at) SELECT gen_random_uuid(), '', 'charged-' || n, now()`) +
      ' WHERE n <= 40',
    `INSERT INTO subscriptions (id, provider, provider_subscription_id, owner_kind, owner_id, status)
     SELECT id, 'polar', 'sub-' || slug, 'organization', id, 'active' FROM organizations WHERE slug LIKE 'charged-%'`,
  ],
};

describe('every job on large tables', () => {
  let t: TestApp;
  let operator: SignedInPerson;
  let jobs: string[];
  let ids: string[];
  beforeAll(async () => {
    t = await startTestApp();
    operator = await signUpOperator(t);
    const person = await signUp(t);
    await verifyEmail(t, person);
    const { id: organizationId } = await createOrganization(t, person);
    const [user] = await t.db.rows<{ id: string }>(`INSERT INTO users (id, name) VALUES (gen_random_uuid(), '') RETURNING id`);
    const [organization] = await t.db.rows<{ id: string }>(
      `INSERT INTO organizations (id, name) VALUES (gen_random_uuid(), '') RETURNING id`,
    );
    ids = [user!.id, organization!.id, person.id, organizationId];
    const { body } = await t.http.get('/v1/jobs').set(operator.auth).expect(200);
    jobs = (body.data as { name: string }[]).map(({ name }) => name);
  });
  afterAll(() => t.close());

  /** What all statements of this process bind and return, while the work runs. */
  async function largestStatement(work: () => Promise<unknown>): Promise<{ parameters: number; rows: number; text: string }> {
    const largest = { parameters: 0, rows: 0, text: '' };
    const see = (kind: 'parameters' | 'rows', count: number, text: string) => {
      if (count <= largest[kind]) return;
      largest[kind] = count;
      if (count > (kind === 'rows' ? MOST_ROWS : MOST_PARAMETERS)) largest.text = text;
    };
    const query = pg.Client.prototype.query as unknown as (...all: unknown[]) => unknown;
    const spy = jest.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...all: unknown[]): unknown {
      const [{ text, values } = {}, bound] = all as [{ text?: string; values?: unknown[] }?, unknown[]?];
      // The statements of this test are plain text.
      if (text === undefined) return query.apply(this, all);
      const parameters = bound ?? values ?? [];
      see('parameters', parameters.length, text);
      for (const one of parameters) if (Array.isArray(one)) see('rows', one.length, text);
      const result = query.apply(this, all);
      if (result instanceof Promise)
        void result.then(
          (answer: pg.QueryResult) => see('rows', Math.max(answer.rowCount ?? 0, answer.rows.length), text),
          () => undefined,
        );
      return result;
    });
    try {
      await work();
    } finally {
      spy.mockRestore();
    }
    return largest;
  }

  it('binds and returns a bounded number of values at a time', async () => {
    expect(jobs).toEqual(expect.arrayContaining(Object.keys(DUE)));
    const named = (text: string) => text.replace(/\$([1-4])/g, (_, digit: string) => `'${ids[Number(digit) - 1]!}'`);
    const fill = ['BEGIN', ...Object.values(DUE).flat().map(named), 'COMMIT'].join(';\n');
    const largest = await largestStatement(async () => {
      await t.db.rows(fill);
      for (const job of jobs) await runJob(t, operator, job);
    });
    expect(largest).toEqual({ parameters: expect.any(Number), rows: expect.any(Number), text: '' });
    // A job that found nothing shows nothing. A scheduled run may have been first.
    const done = await t.db.rows<{ job: string }>('SELECT job FROM job_runs GROUP BY job HAVING sum(count) >= 40');
    expect(done.map(({ job }) => job)).toEqual(expect.arrayContaining(Object.keys(DUE)));
  });

  it('requeues dead outbox entries a bounded number at a time', async () => {
    await t.db.rows(
      rowsFor(`INSERT INTO outbox (id, kind, payload, next_attempt_at, attempts) SELECT gen_random_uuid(), 'no.such.kind', '', NULL, 80`),
    );
    const requeue = jest.spyOn(OutboxRepository.prototype, 'requeueDead');
    expect(await t.app.get(OutboxService).retryDead()).toBe(ROWS);
    expect(await Promise.all(requeue.mock.results.map(async ({ value }) => value as Promise<number>))).toEqual([500, 500, 200]);
    requeue.mockRestore();
  });
});

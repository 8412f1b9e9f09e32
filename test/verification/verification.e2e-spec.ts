import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { v7 } from 'uuid';
import { VerificationReports } from '../../src/verification/verification-reports.service.js';
import { type CheckResult, VerificationService, type Violation } from '../../src/verification/verification.service.js';
import { AuditSeals } from '../../src/audit/seals/audit-seals.service.js';
import { startTestApp, type TestApp, testEnvironment } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type SignedInPerson, signIn, signUp, signUpOperator } from '../support/people.js';
import { endProcesses, runCommand } from '../support/processes.js';
import { addMember, createOrganization, membershipOf, runJob, verifyEmail } from '../support/tenants.js';
import { holdJobs } from '../support/tenant-world.js';

const SESSION = `SELECT id FROM sessions WHERE user_id = $1 ORDER BY created_at DESC LIMIT 1`;

/** Everything here was done over the API, and then a row was changed by hand. */
describe('the verification', () => {
  let db: TestDatabase;
  let t: TestApp;
  let admin: SignedInPerson;
  let operator: SignedInPerson;
  let organization: { id: string; path: string };
  beforeAll(async () => {
    db = await createTestDatabase();
    // The job would seal before the test has written its entries.
    await holdJobs(db, ['seal_audit_log']);
    t = await startTestApp({}, db);
    [admin, operator] = [await signUp(t), await signUpOperator(t)];
    await verifyEmail(t, admin);
    organization = await createOrganization(t, admin);
    await t.http
      .post(`${organization.path}/usage`)
      .set(admin.auth)
      .send({ eventId: 'one', model: 'm', inputTokens: 10, outputTokens: 5 })
      .expect(201);
  });
  afterEach(endProcesses);
  afterAll(async () => {
    await t.close();
    await db.drop();
  });

  async function verify(checks?: string[]): Promise<{ results: CheckResult[]; violations: Violation[] }> {
    const violations: Violation[] = [];
    const results = await t.app.get(VerificationService, { strict: false }).verify({ checks, onViolation: (one) => violations.push(one) });
    return { results, violations };
  }
  const idOf = async (text: string, ...values: unknown[]) => (await t.db.rows<{ id: string }>(text, values))[0]!.id;

  /** The same row before and after the damage; each returns the id that a violation must name, and how to mend it. */
  const damages: [check: string, details: string, damage: () => Promise<{ id: string; mend: () => Promise<unknown> }>][] = [
    [
      'organization_admins',
      'it has no admin',
      async () => {
        const role = (name: string) =>
          t.db.rows('UPDATE organization_memberships SET role = $1 WHERE organization_id = $2', [name, organization.id]);
        await role('member');
        return { id: organization.id, mend: () => role('admin') };
      },
    ],
    [
      'deleted_users',
      'the audit log has its deletion',
      async () => {
        const { id, auth } = await signUp(t);
        await t.http.delete('/v1/users/me').set(auth).expect(204);
        await t.db.rows('UPDATE users SET deleted_at = NULL WHERE id = $1', [id]);
        return { id, mend: () => t.db.rows('UPDATE users SET deleted_at = now() WHERE id = $1', [id]) };
      },
    ],
    [
      'suspended_users',
      'the audit log has its suspension, and no end of it',
      async () => {
        const { id } = await signUp(t);
        for (const verb of ['suspend', 'unsuspend', 'suspend']) await t.http.post(`/v1/users/${id}/${verb}`).set(operator.auth).expect(200);
        await t.db.rows('UPDATE users SET suspended_at = NULL WHERE id = $1', [id]);
        return { id, mend: () => t.db.rows('UPDATE users SET suspended_at = now() WHERE id = $1', [id]) };
      },
    ],
    [
      'deleted_organizations',
      'the audit log has its deletion, and no restoration',
      async () => {
        const { id, path: route } = await createOrganization(t, admin);
        await t.http.delete(route).set(admin.auth).expect(204);
        await t.http.post(`${route}/restore`).set(operator.auth).expect(200);
        await t.http.delete(route).set(admin.auth).expect(204);
        await t.db.rows('UPDATE organizations SET deleted_at = NULL WHERE id = $1', [id]);
        return { id, mend: () => t.db.rows('UPDATE organizations SET deleted_at = now() WHERE id = $1', [id]) };
      },
    ],
    [
      'sessions',
      'it was revoked',
      async () => {
        const other = await signIn(t, admin);
        const id = await idOf(SESSION, other.id);
        const [row] = await t.db.rows('SELECT * FROM sessions WHERE id = $1', [id]);
        await t.http.delete(`/v1/sessions/${id}`).set(admin.auth).expect(204);
        await t.db.rows('INSERT INTO sessions SELECT * FROM jsonb_populate_record(NULL::sessions, $1)', [JSON.stringify(row)]);
        return { id, mend: () => t.db.rows('DELETE FROM sessions WHERE id = $1', [id]) };
      },
    ],
    [
      'sessions',
      'its user is deleted',
      async () => {
        const person = await signUp(t);
        const id = await idOf(SESSION, person.id);
        const [row] = await t.db.rows('SELECT * FROM sessions WHERE id = $1', [id]);
        await t.http.delete('/v1/users/me').set(person.auth).expect(204);
        await t.db.rows('INSERT INTO sessions SELECT * FROM jsonb_populate_record(NULL::sessions, $1)', [JSON.stringify(row)]);
        return { id, mend: () => t.db.rows('DELETE FROM sessions WHERE id = $1', [id]) };
      },
    ],
    [
      'memberships',
      'it was ended',
      async () => {
        const person = await signUp(t);
        const id = await addMember(t, organization.id, person);
        await t.http.delete(`${organization.path}/memberships/${id}`).set(admin.auth).expect(204);
        await t.db.rows('UPDATE organization_memberships SET deleted_at = NULL WHERE id = $1', [id]);
        return { id, mend: () => t.db.rows('UPDATE organization_memberships SET deleted_at = now() WHERE id = $1', [id]) };
      },
    ],
    [
      'invitations',
      'it was revoked',
      async () => {
        const id = await invite(admin);
        await t.http.delete(`${organization.path}/invitations/${id}`).set(admin.auth).expect(204);
        await t.db.rows(`UPDATE invitations SET status = 'pending' WHERE id = $1`, [id]);
        return { id, mend: () => t.db.rows(`UPDATE invitations SET status = 'revoked' WHERE id = $1`, [id]) };
      },
    ],
    [
      'invitations',
      'its sender may no longer invite',
      async () => {
        const other = await signUp(t);
        const id = await invite(admin);
        await t.db.rows('UPDATE invitations SET invited_by = $1 WHERE id = $2', [other.id, id]);
        return { id, mend: () => t.db.rows(`UPDATE invitations SET status = 'revoked' WHERE id = $1`, [id]) };
      },
    ],
    [
      'api_keys',
      'it was revoked',
      async () => {
        const keys = `${organization.path}/api-keys`;
        const { body } = await t.http
          .post(keys)
          .set(admin.auth)
          .send({ name: 'A key', scopes: ['usage:read'] })
          .expect(201);
        await t.http.delete(`${keys}/${body.id}`).set(admin.auth).expect(204);
        await t.db.rows('UPDATE api_keys SET revoked_at = NULL WHERE id = $1', [body.id]);
        return { id: body.id, mend: () => t.db.rows('UPDATE api_keys SET revoked_at = now() WHERE id = $1', [body.id]) };
      },
    ],
    [
      'inbox',
      'due since 2026-01-01T00:00:00Z',
      async () => {
        const id = v7();
        // Leased by nobody who lives, and of a provider that is not configured, so that no worker takes it.
        await t.db.rows(
          `INSERT INTO webhook_events (id, provider, message_id, type, next_attempt_at) VALUES ($1, 'unknown', $2, 'user.created', '2026-01-01Z')`,
          [id, id],
        );
        return { id, mend: () => t.db.rows('DELETE FROM webhook_events WHERE id = $1', [id]) };
      },
    ],
    [
      'outbox',
      'it is done and would be sent again',
      async () => {
        const id = v7();
        await t.db.rows(
          `INSERT INTO outbox (id, kind, payload, done_at, next_attempt_at) VALUES ($1, 'mail', '', now(), now() + interval '1 day')`,
          [id],
        );
        return { id, mend: () => t.db.rows('DELETE FROM outbox WHERE id = $1', [id]) };
      },
    ],
    [
      'audit_log',
      'an entry was changed between',
      async () => {
        await t.db.rows(
          `INSERT INTO audit_log (id, actor_kind, action, target_type, target_id, created_at)
           SELECT gen_random_uuid(), 'system', 'a.b', 'c', n, now() - interval '1 hour' FROM generate_series(1, 3) n`,
        );
        await t.app.get(AuditSeals, { strict: false }).sealNext();
        const change = (to: string, from: string) =>
          t.db.rows(
            `DO $$ BEGIN
               PERFORM set_config('tenantry.audit_maintenance', 'on', true);
               UPDATE audit_log SET action = '${to}' WHERE action = '${from}' AND target_id = '2';
             END $$`,
          );
        await change('x.y', 'a.b');
        return { id: '1', mend: () => change('a.b', 'x.y') };
      },
    ],
    [
      'member_counts',
      'stale, 7 instead of 1',
      async () => {
        const set = (count: number) => t.db.rows('UPDATE organizations SET member_count = $1 WHERE id = $2', [count, organization.id]);
        await set(7);
        return { id: organization.id, mend: () => set(1) };
      },
    ],
    [
      'usage_caps',
      'used 100001, limit 100000, overrun 0',
      async () => {
        const set = (used: number) =>
          t.db.rows('UPDATE usage_quotas SET used = $1 WHERE owner_id = $2 RETURNING period_start', [used, organization.id]);
        const [quota] = await set(100_001);
        return { id: `${organization.id} ${(quota!['period_start'] as Date).toISOString()}`, mend: () => set(15) };
      },
    ],
    [
      'usage',
      'stale, used 16 instead of 15',
      async () => {
        const set = (used: number) =>
          t.db.rows('UPDATE usage_quotas SET used = $1 WHERE owner_id = $2 RETURNING period_start', [used, organization.id]);
        const [quota] = await set(16);
        return { id: `${organization.id} ${(quota!['period_start'] as Date).toISOString()}`, mend: () => set(15) };
      },
    ],
  ];

  async function invite(sender: SignedInPerson): Promise<string> {
    const { body } = await t.http
      .post(`${organization.path}/invitations`)
      .set(sender.auth)
      .send({ email: `${v7()}@example.com`, role: 'member' })
      .expect(201);
    return body.id as string;
  }

  it('finds nothing where nothing was changed by hand', async () => {
    const person = await signUp(t);
    const id = await addMember(t, organization.id, person);
    await t.http.patch(`${organization.path}/memberships/${id}`).set(admin.auth).send({ role: 'admin' }).expect(200);
    await t.http.delete(`${organization.path}/memberships/${id}`).set(admin.auth).expect(204);
    await t.http.delete('/v1/users/me').set(person.auth).expect(204);
    expect(await membershipOf(t, organization.id, person)).toBeUndefined();
    const { results, violations } = await verify();
    expect(violations).toEqual([]);
    const outcomes = results.map(({ check, outcome }) => [check, outcome]);
    expect(outcomes.filter(([, outcome]) => outcome !== 'holds')).toEqual([
      ['clerk', 'not_configured'],
      ['billing', 'not_configured'],
    ]);
    // Every check has a test that breaks its promise.
    expect(new Set(damages.map(([check]) => check))).toEqual(
      new Set(outcomes.filter(([, outcome]) => outcome === 'holds').map(([check]) => check)),
    );
  });

  it.each(damages)('finds exactly the row that breaks %s: %s', async (check, details, damage) => {
    const { id, mend } = await damage();
    try {
      const { results, violations } = await verify([check]);
      expect(violations.map((one) => [one.id, one.details.join(', ').replace(/(?<=between) .*/, '')])).toEqual([[id, details]]);
      expect(results).toEqual([expect.objectContaining({ check, outcome: 'broken', violations: 1 })]);
    } finally {
      await mend();
    }
    expect((await verify([check])).violations).toEqual([]);
  });

  it('walks all batches of a table, and says when a check could not be finished', async () => {
    const ids = await t.db.rows<{ id: string }>(
      `INSERT INTO outbox (id, kind, payload, next_attempt_at, done_at) SELECT gen_random_uuid(), 'mail', '', now() + interval '1 day', now() FROM generate_series(1, 4500) RETURNING id`,
    );
    const { violations } = await verify(['outbox']);
    expect(violations.map(({ id }) => id).toSorted()).toEqual(ids.map(({ id }) => id).toSorted());
    await t.db.rows('ALTER TABLE outbox RENAME COLUMN done_at TO finished_at');
    const { results } = await verify(['outbox', 'inbox']);
    await t.db.rows('ALTER TABLE outbox RENAME COLUMN finished_at TO done_at');
    await t.db.rows('DELETE FROM outbox');
    expect(results.map(({ outcome, note }) => [outcome, note])).toEqual([
      ['holds', null],
      ['failed', 'column t.done_at does not exist'],
    ]);
  });

  it('runs every night, with a metric for each check', async () => {
    await t.db.rows(`UPDATE organizations SET member_count = 9 WHERE id = $1`, [organization.id]);
    await runJob(t, operator, 'verify');
    const { text } = await t.http.get('/metrics').set(operator.auth);
    await t.db.rows(`UPDATE organizations SET member_count = 1 WHERE id = $1`, [organization.id]);
    expect(text).toContain('tenantry_verification_violations{check="member_counts"} 1');
    expect(text).toContain('tenantry_verification_violations{check="api_keys"} 0');
    expect(text).toContain('tenantry_verification_failed{check="api_keys"} 0');
  });

  it('signs its reports, and recognises a changed one', async () => {
    const reports = t.app.get(VerificationReports, { strict: false });
    const report = reports.start();
    const lines: string[] = [];
    await t.app.get(VerificationService, { strict: false }).verify({ onResult: (result) => lines.push(report.result(result)) });
    lines.push(report.end());
    const text = `${lines.join('\n')}\n`;
    expect(reports.isGenuine(text)).toBe(true);
    const forged = [
      text.replace('"holds"', '"broken"'),
      lines.slice(1).join('\n'),
      [...lines.slice(0, -1), lines[0], lines.at(-1)].join('\n'),
      text.replace('"failed":0', '"failed":1'),
      text.replace(/"signature":"test\.(.)/, (_, first: string) => `"signature":"test.${first === 'A' ? 'B' : 'A'}`),
      text.replace('"signature":"test.', '"signature":"other.'),
      lines.slice(0, -1).join('\n'),
      '',
      '{}',
      'null',
      '[1]',
      'no JSON',
    ];
    for (const one of forged) expect([one.slice(-80), reports.isGenuine(one)]).toEqual([one.slice(-80), false]);
  });

  it('is a command: exits with 0 or 1, prints a table or a signed report, and refuses unknown names', async () => {
    const env = testEnvironment(t.db.url);
    const whole = await runCommand(['verify'], { env });
    expect([whole.code, whole.output]).toEqual([
      0,
      expect.stringMatching(/^holds +organization_admins +Every organization with members has an admin\.$/m),
    ]);
    expect(whole.output).toMatch(/^16 promises: 14 hold, 0 broken, 0 not checked, 2 not configured$/m);
    await t.db.rows('UPDATE organizations SET member_count = 9 WHERE id = $1', [organization.id]);
    const [broken, table] = await Promise.all([
      runCommand(['verify', 'member_counts', 'api_keys', '--json'], { env }),
      runCommand(['verify', 'member_counts'], { env }),
    ]);
    await t.db.rows('UPDATE organizations SET member_count = 1 WHERE id = $1', [organization.id]);
    expect([broken.code, table.code]).toEqual([1, 1]);
    expect(table.output).toContain(
      `BROKEN (1)      member_counts          Member counts equal the memberships.\n    member count ${organization.id}: stale, 9 instead of 1\n`,
    );
    expect(
      broken.output
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { type: string }).type),
    ).toEqual(['check', 'violation', 'check', 'report']);
    expect(t.app.get(VerificationReports, { strict: false }).isGenuine(broken.output)).toBe(true);
    const directory = mkdtempSync(path.join(tmpdir(), 'tenantry-report-'));
    for (const [name, text] of [
      ['kept', broken.output],
      ['changed', broken.output.replace('"failed":0', '"failed":1')],
    ] as const)
      writeFileSync(path.join(directory, name), text);
    const check = (name: string) => runCommand(['report', 'check', path.join(directory, name)], { env });
    const [unknown, kept, changed] = await Promise.all([runCommand(['verify', 'everything'], { env }), check('kept'), check('changed')]);
    rmSync(directory, { recursive: true });
    expect(kept).toEqual({ code: 0, output: 'The report is genuine\n' });
    expect(changed).toEqual({ code: 1, output: 'This installation did not write the report, or it was changed.\n' });
    expect([unknown.code, unknown.output]).toEqual([
      2,
      expect.stringMatching(/^There is no check everything\. There are organization_admins, /),
    ]);
  });

  it('is described: docs/verification.md names every check and its promise', () => {
    const text = readFileSync('docs/verification.md', 'utf8');
    const service = t.app.get(VerificationService, { strict: false });
    for (const name of service.names()) expect(text).toContain(`\`${name}\``);
  });
});

import { AccountsService } from '../../src/accounts/accounts.service.js';
import { IdempotencyService } from '../../src/idempotency/idempotency.service.js';
import { UsageAlerts } from '../../src/usage/alerts/usage-alerts.service.js';
import { WebhooksService } from '../../src/webhooks/webhooks.service.js';
import { type ClerkApiSimulator, startClerkApiSimulator } from '../simulators/clerk-api.js';
import { DodoAccount } from '../simulators/dodo-account.js';
import { type DodoApiSimulator, startDodoApiSimulator } from '../simulators/dodo-api.js';
import { PolarAccount } from '../simulators/polar-account.js';
import { type PolarApiSimulator, startPolarApiSimulator } from '../simulators/polar-api.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { dodoEnvironment, polarEnvironment } from '../support/billing/billing-clients.js';
import { CLERK_INSTANCE_ID, CLERK_WEBHOOK_SECRET } from '../support/clerk/clerk-events.js';
import type { TestDatabase } from '../support/database.js';
import { linkIn, startMailServer } from '../support/mails.js';
import { PASSWORD, signUp } from '../support/people.js';
import { polarCustomer, polarSubscription } from '../support/billing/polar-events.js';
import { runJob, verifyEmail } from '../support/tenants.js';
import { skipJob } from '../support/tenant-world.js';
import { until } from '../support/until.js';
import { loadStoredRows, readFacts, SECRETS } from './load.js';

const facts = readFacts();
const NEW_PASSWORD = 'another horse, another battery';
const AGES = '36500';

describe('rows of version 0.1', () => {
  let db: TestDatabase;
  let t: TestApp;
  let mail: Awaited<ReturnType<typeof startMailServer>>;
  let clerk: ClerkApiSimulator;
  let polar: PolarApiSimulator;
  let dodo: DodoApiSimulator;
  let storedJobs: string[];
  const alerts: { threshold: number; periodStart: Date }[] = [];

  beforeAll(async () => {
    db = await loadStoredRows();
    const clock = { now: () => new Date() };
    mail = await startMailServer();
    clerk = await startClerkApiSimulator();
    clerk.sessions.set(facts.ends.clerkSessionId, {
      object: 'session',
      id: facts.ends.clerkSessionId,
      created_at: Date.now(),
      status: 'active',
    });
    const [payer] = await db.rows<{ id: string }>(`SELECT provider_customer_id AS id FROM billing_customers WHERE provider = 'polar'`);
    const account = new PolarAccount({ clock });
    account.customers.set(payer!.id, polarCustomer({ id: payer!.id }));
    polar = await startPolarApiSimulator({ account });
    dodo = await startDodoApiSimulator({ account: new DodoAccount({ clock }) });
    storedJobs = (await db.rows<{ job: string }>('SELECT DISTINCT job FROM job_runs')).map(({ job }) => job);
    // Run below on demand.
    await skipJob(db, 'reconcile_billing', 86_400);
    t = await startTestApp(
      {
        ...SECRETS,
        ...polarEnvironment(polar),
        ...dodoEnvironment(dodo),
        SMTP_URL: mail.url,
        CLERK_INSTANCE_ID,
        CLERK_SECRET_KEY: clerk.secretKey,
        CLERK_API_URL: clerk.url,
        CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET,
        POLAR_WEBHOOK_SECRET: CLERK_WEBHOOK_SECRET,
        POLAR_METER_EVENT: 'tokens',
        DODO_PAYMENTS_WEBHOOK_KEY: CLERK_WEBHOOK_SECRET,
        BILLING_PRODUCTS: 'polar:stored-pro=pro,dodo:stored-pro=pro',
        RATE_LIMIT_SIGN_IN: '3/300',
        // The rows grow older every day.
        PURGE_AFTER_DAYS: AGES,
        AUDIT_RETENTION_DAYS: AGES,
        USAGE_RETENTION_DAYS: AGES,
        WEBHOOK_BODY_DAYS: AGES,
      },
      db,
    );
    t.app.get(UsageAlerts).listen('stored-rows', async (alert) => void alerts.push(alert));
  }, 120_000);
  afterAll(async () => {
    await t.close();
    await Promise.all([mail.close(), clerk.close(), polar.close(), dodo.close()]);
    await db.drop();
  });

  const bearer = ({ token }: { token: string }) => ({ authorization: `Bearer ${token}` });
  const { operator, ada, bob, carl, gus } = facts.people;

  it('contain sessions that are accepted by token and cookie, and an accepted API key', async () => {
    for (const person of Object.values(facts.people)) {
      for (const credential of [bearer(person), { cookie: person.cookie }]) {
        const { body } = await t.http.get('/v1/users/me').set(credential).expect(200);
        expect(body.id).toBe(person.id);
      }
    }
    await t.http.get(`${facts.organization.path}/usage`).set('x-api-key', facts.apiKey).expect(200);
  });

  it.each(facts.pages)('continue the list $path at the old cursor', async ({ path, as, cursor, ids }) => {
    const { body } = await t.http.get(path).query({ limit: '1', cursor }).set(bearer(facts.people[as])).expect(200);
    const idOf = (one: Record<string, unknown>) => one['id'] ?? one['eventId'] ?? one['effectiveFrom'] ?? one['threshold'];
    expect(body.data.map(idOf)).toEqual(ids);
  });

  it.each(facts.idempotent)('replay the idempotent response $key', async ({ key, body, answer }) => {
    const replayed = await t.http.post('/v1/organizations').set(bearer(ada)).set('idempotency-key', key).send(body);
    const withoutRequestId = (given: object) => ({ ...given, requestId: undefined });
    expect(replayed.headers['idempotent-replayed']).toBe('true');
    expect(replayed.status).toBe(answer.status);
    expect(withoutRequestId(replayed.body)).toEqual(withoutRequestId(answer.body));
    const other = { ...body, name: 'Another' };
    await t.http.post('/v1/organizations').set(bearer(ada)).set('idempotency-key', key).send(other).expect(422);
  });

  it('contain unchanged audit entries', async () => {
    const { body } = await t.http.get(`${facts.organization.path}/audit-log?limit=100`).set(bearer(ada)).expect(200);
    expect(facts.audit.length).toBeGreaterThan(4);
    expect(body.data).toEqual(facts.audit);
  });

  it('contain known usage events, and holds that can be settled', async () => {
    const usage = (path: string, body: object) =>
      t.http.post(`${facts.organization.path}/usage${path}`).set('x-api-key', facts.apiKey).send(body);
    for (const event of facts.events) {
      expect((await usage('', event).expect(200)).body.outcome).toBe('duplicate');
      const changed = { ...event, inputTokens: event.inputTokens + 1 };
      expect((await usage('', changed).expect(409)).body.code).toBe('usage_conflict');
    }
    for (const id of facts.holds) {
      const event = { eventId: `settles-${id}`, model: 'a-model', tokens: 60 };
      expect((await usage(`/holds/${id}/settle`, event).expect(201)).body.outcome).toBe('inserted');
    }
  });

  it('continue the limit of wrong passwords', async () => {
    const signIn = (password: string, cookie?: string) => {
      const request = t.http.post('/v1/auth/sign-in/email').send({ email: carl.email, password });
      return cookie === undefined ? request : request.set('cookie', cookie);
    };
    await signIn(PASSWORD).expect(429);
    const known = t.http.post('/v1/auth/sign-in/email').set('cookie', facts.deviceCookie);
    await known.send({ email: bob.email, password: PASSWORD }).expect(200);
  });

  it('contain inbox events of every provider that are processed', async () => {
    const text = 'SELECT message_id, status, attempts, last_error FROM webhook_events WHERE message_id = ANY ($1)';
    const events = () => db.rows<{ status: string }>(text, [facts.pending]);
    await until(
      async () => (await events()).every(({ status }) => status === 'processed'),
      async () => JSON.stringify(await events()),
    );
    expect(await db.rows(`SELECT name FROM users WHERE clerk_user_id = 'user_stored'`)).toEqual([{ name: 'Fayette' }]);
    expect(await db.rows(`SELECT email FROM invitations WHERE clerk_invitation_id = 'orginv_stored'`)).toEqual([
      { email: 'hal@example.com' },
    ]);
    const subscriptions = await db.rows(
      `SELECT provider, seats, provider_status FROM subscriptions WHERE provider <> 'manual' ORDER BY provider`,
    );
    expect(subscriptions).toEqual([
      expect.objectContaining({ provider: 'polar', seats: 5 }),
      expect.objectContaining({ provider: 'dodo', provider_status: 'on_hold' }),
    ]);
  });

  it('contain outbox entries of every kind that are processed', async () => {
    const entries = () => db.rows<{ kind: string; done: boolean }>('SELECT kind, done_at IS NOT NULL AS done, last_error FROM outbox');
    await until(
      async () => (await entries()).every(({ done }) => done),
      async () => JSON.stringify(await entries()),
    );
    expect([...new Set((await entries()).map(({ kind }) => kind))].sort()).toEqual([
      'auth.email_change_requested',
      'auth.password_reset_requested',
      'auth.verification_requested',
      'clerk.session.revoke',
      'mail',
      'subscription.end',
      'usage.alert',
    ]);
    expect(clerk.sessions.get(facts.ends.clerkSessionId)?.status).toBe('revoked');
    expect(dodo.calls).toContain(`PATCH /subscriptions/${facts.ends.dodoSubscriptionId}`);
    expect(alerts.map(({ threshold }) => threshold).sort()).toEqual([50, 80]);
    expect(alerts.every(({ periodStart }) => periodStart instanceof Date)).toBe(true);
  });

  it('contain usage that is exported to a meter', async () => {
    await until(
      async () => (await db.rows('SELECT FROM meter_exports WHERE next_attempt_at IS NOT NULL')).length === 0,
      async () => JSON.stringify(await db.rows('SELECT * FROM meter_exports')),
    );
    expect(polar.usage.map(({ metadata }) => metadata!['tokens_used'])).toEqual([7, 7]);
  });

  it('contain job runs of a dead process that are taken over', async () => {
    const runs = () => db.rows<{ error: string | null; attempts: number }>(`SELECT * FROM job_runs WHERE tick = '2026-11-30T00:00:00Z'`);
    const taken = await until(async () => {
      const all = (await runs()).filter(({ attempts }) => attempts === 2);
      return all.length === 2 && all.every((run) => 'finished_at' in run && run.finished_at !== null) && all;
    });
    expect(taken.map(({ error }) => error)).toEqual([null, null]);
    const { body } = await t.http.get('/v1/jobs').set(bearer(operator)).expect(200);
    const known = (body.data as { name: string }[]).map(({ name }) => name);
    expect(storedJobs.length).toBeGreaterThan(20);
    expect(known).toEqual(expect.arrayContaining(storedJobs));
  });

  it('continue the reconciliation with a billing provider where it stopped', async () => {
    const known = JSON.stringify(polarSubscription({ id: facts.ends.polarSubscriptionId }));
    polar.control.onCall = (call) =>
      void (call.includes(facts.ends.polarSubscriptionId) && polar.faults.push({ status: 200, body: known }));
    const isList = (call: string) => call.startsWith('GET /v1/subscriptions') && !call.includes(facts.ends.polarSubscriptionId);
    // Dodo's simulator knows none of our subscriptions.
    const reconcile = () => expect(runJob(t, { auth: bearer(operator) }, 'reconcile_billing')).rejects.toThrow('dodo knows none');
    await reconcile();
    expect(polar.calls.filter(isList)).toEqual([]);
    expect(await db.rows(`SELECT FROM billing_walks WHERE provider = 'polar'`)).toEqual([]);
    // The next run starts at the beginning.
    await reconcile();
    expect(polar.calls.filter(isList)).not.toEqual([]);
  });

  it('contain links of mails that work, and requested mails that are sent', async () => {
    const linkTo = async (email: string, subject: RegExp) => linkIn(await mail.next(email, subject));
    const open = (link: URL, person: { token: string }) => t.http.get(`${link.pathname}${link.search}`).set(bearer(person));
    await open(await linkTo(carl.email, /Confirm your email/), carl).expect(200);
    await open(await linkTo(gus.email, /Confirm your email/), gus).expect(200);
    await open(await linkTo('ada-new@example.com', /Confirm your new email/), ada).expect(200);
    await open(await linkTo('gus-new@example.com', /Confirm your new email/), gus).expect(200);
    const verified = await db.rows<{ email: string }>('SELECT email FROM users WHERE email_verified ORDER BY email');
    expect(verified.map(({ email }) => email)).toEqual(expect.arrayContaining([carl.email, 'ada-new@example.com', 'gus-new@example.com']));
    const tokenTo = async (email: string, subject: RegExp) =>
      /\n\n([\w-]{24,})\n/.exec((await mail.next(email, subject)).text.replaceAll('\r', ''))![1]!;
    for (const email of [bob.email, operator.email]) {
      const token = await tokenTo(email, /Reset your password/);
      await t.http.post('/v1/auth/reset-password').send({ token, newPassword: NEW_PASSWORD }).expect(200);
    }
    for (const email of ['dora@example.com', 'erin@example.com']) {
      const token = await tokenTo(email, /invited/);
      const invited = await signUp(t, { email });
      await verifyEmail(t, invited);
      await t.http.post('/v1/invitations/accept').set(invited.auth).send({ token }).expect(200);
    }
  });

  it('contain encrypted data that is re-encrypted with a newer key', async () => {
    const newer = `newer:${Buffer.alloc(32, 1).toString('base64')}`;
    const other = await startTestApp({ ...SECRETS, ENCRYPTION_KEYS: `${newer},${SECRETS.ENCRYPTION_KEYS}` }, db);
    try {
      expect(await other.app.get(AccountsService).renewEncryption()).toBe(1);
      expect(await other.app.get(IdempotencyService).renewEncryption()).toBe(2);
      expect(await other.app.get(WebhooksService).renewEncryption()).toBeGreaterThanOrEqual(facts.pending.length);
    } finally {
      await other.close();
    }
  });
});

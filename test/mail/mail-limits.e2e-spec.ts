import { startTestApp, type TestApp } from '../support/app.js';
import { linkIn, startMailServer } from '../support/mails.js';
import { PASSWORD, type SignedInPerson, signUp } from '../support/people.js';
import { addMember, createOrganization, verifyEmail } from '../support/tenants.js';
import { until } from '../support/until.js';

type MailServer = Awaited<ReturnType<typeof startMailServer>>;
type Organization = Awaited<ReturnType<typeof createOrganization>>;

let counter = 0;
const newEmail = () => `limited-${(counter += 1)}@example.org`;
const times = <T>(count: number, work: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)));
const countOf = (list: unknown[], wanted: unknown) => list.filter((one) => one === wanted).length;

describe('mail limits', () => {
  let mail: MailServer;
  beforeAll(async () => {
    mail = await startMailServer();
  });
  afterAll(() => mail.close());

  async function withApp(environment: Record<string, string>, test: (t: TestApp) => Promise<void>): Promise<void> {
    const t = await startTestApp({ SMTP_URL: mail.url, TRUST_PROXY: '1', ...environment });
    try {
      await test(t);
    } finally {
      await t.close();
    }
  }
  const admin = async (t: TestApp) => {
    const person = await signUp(t, { email: newEmail() });
    await verifyEmail(t, person);
    return person;
  };
  const invite = (t: TestApp, { path }: Organization, { auth }: SignedInPerson, email = newEmail(), key?: string) =>
    t.http
      .post(`${path}/invitations`)
      .set({ ...auth, ...(key && { 'idempotency-key': key }) })
      .send({ email, role: 'member' });
  const outboxIsEmpty = (t: TestApp) => until(async () => (await t.db.rows('SELECT id FROM outbox WHERE done_at IS NULL')).length === 0);
  const mailsTo = (email: string) => mail.mails.filter(({ to }) => to === email).length;
  const advanceSeconds = (t: TestApp, seconds: number) =>
    t.db.rows(`UPDATE rate_limits SET whole_at = whole_at - $1 * interval '1 second'`, [seconds]);

  it('limit invitations to one recipient, in every way to send them', async () => {
    await withApp({ RATE_LIMIT_MAIL: '3/3600' }, async (t) => {
      const ada = await admin(t);
      const organization = await createOrganization(t, ada);
      const email = newEmail();
      const { body: invitation } = await invite(t, organization, ada, email).expect(201);
      const resend = () => t.http.post(`${organization.path}/invitations/${invitation.id}/resend`).set(ada.auth);
      const statuses: number[] = [];
      for (let call = 0; call < 6; call += 1) statuses.push((await resend()).status);
      expect(statuses).toEqual([200, 200, 429, 429, 429, 429]);
      const refused = await resend().expect(429);
      expect(refused.body).toMatchObject({ code: 'rate_limited' });
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(1100);
      expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(1200);

      // Another organization of the same user has the same limit.
      const other = await createOrganization(t, ada);
      await invite(t, other, ada, email).expect(429);
      expect(await t.db.rows('SELECT id FROM invitations WHERE organization_id = $1', [other.id])).toEqual([]);
      expect(await t.db.rows(`SELECT id FROM audit_log WHERE organization_id = $1 AND action LIKE 'invitation%'`, [other.id])).toEqual([]);
      await invite(t, other, ada).expect(201);
      // Another user has an own limit.
      const bob = await admin(t);
      await invite(t, await createOrganization(t, bob), bob, email).expect(201);

      await outboxIsEmpty(t);
      // The last mail is the one from Bob.
      expect(mailsTo(email)).toBe(4);
      await advanceSeconds(t, 1201);
      await resend().expect(200);
      await resend().expect(429);
    });
  });

  it('limit the invitations of a user over all organizations, and of an organization over all admins', async () => {
    await withApp({ RATE_LIMIT_MAIL_SENDER: '4/3600' }, async (t) => {
      const [ada, bob] = [await admin(t), await admin(t)];
      const [first, second] = [await createOrganization(t, ada), await createOrganization(t, ada)];
      await addMember(t, first.id, bob, 'admin');
      for (const organization of [first, first, second, second]) await invite(t, organization, ada).expect(201);
      for (const organization of [first, second]) await invite(t, organization, ada).expect(429);
      await invite(t, first, bob).expect(201);
      await invite(t, first, bob).expect(201);
      await invite(t, first, bob).expect(429);
      const own = await createOrganization(t, bob);
      await invite(t, own, bob).expect(201);
    });
  });

  it('are exact in concurrent requests, and do not count retries with the same key', async () => {
    await withApp({ RATE_LIMIT_MAIL_SENDER: '5/3600' }, async (t) => {
      const ada = await admin(t);
      const organization = await createOrganization(t, ada);
      const email = newEmail();
      for (let retry = 0; retry < 4; retry += 1) await invite(t, organization, ada, email, 'one-key').expect(201);
      const statuses = await times(20, async () => (await invite(t, organization, ada)).status);
      expect([countOf(statuses, 201), countOf(statuses, 429)]).toEqual([4, 16]);
      await outboxIsEmpty(t);
      expect(mailsTo(email)).toBe(1);

      // The 429 is not stored under the idempotency key.
      await invite(t, organization, ada, newEmail(), 'another-key').expect(429);
      await advanceSeconds(t, 3600);
      await invite(t, organization, ada, newEmail(), 'another-key').expect(201);
    });
  });

  it('count the tagged addresses of one mailbox together, and the plain address separately', async () => {
    await withApp({ RATE_LIMIT_MAIL: '1/3600' }, async (t) => {
      const ada = await admin(t);
      const organization = await createOrganization(t, ada);
      for (let tag = 0; tag < 4; tag += 1) await invite(t, organization, ada, `victim+${tag}@example.net`).expect(201);
      for (const email of ['victim+4@example.net', 'victim+5@example.net']) await invite(t, organization, ada, email).expect(429);
      await invite(t, organization, ada, 'victim@example.net').expect(201);
      await invite(t, organization, ada, 'other+1@example.net').expect(201);
    });
  });

  it('of sign-ups and requests by others do not affect an owner’s resets and invitations', async () => {
    await withApp({ RATE_LIMIT_MAIL: '2/3600', TRUSTED_ORIGINS: 'https://app.example.com' }, async (t) => {
      const owner = await admin(t);
      const from = (n: number) => `203.0.113.${n}`;
      for (let tag = 0; tag < 10; tag += 1) await signUp(t, { email: owner.email.replace('@', `+${tag}@`) });
      const reset = (n: number, redirectTo?: string) =>
        t.http.post('/v1/auth/request-password-reset').set('x-forwarded-for', from(n)).send({ email: owner.email, redirectTo }).expect(200);
      // Each address may send two requests.
      for (const n of [1, 1, 2]) await reset(n);
      for (const n of [2, 3, 3]) await reset(n, 'https://app.example.com/other');
      await outboxIsEmpty(t);
      const before = mailsTo(owner.email);
      await reset(4, 'https://app.example.com/reset');
      await outboxIsEmpty(t);
      expect(mailsTo(owner.email)).toBe(before + 1);

      const mallory = await admin(t);
      for (let n = 0; n < 4; n += 1) await invite(t, await createOrganization(t, mallory), mallory, 'wanted@example.net');
      const honest = await admin(t);
      await invite(t, await createOrganization(t, honest), honest, 'wanted@example.net').expect(201);
      await invite(t, await createOrganization(t, honest), honest, owner.email).expect(201);
    });
  });

  it('apply to resets of unverified addresses, also for the user who signed up with them', async () => {
    await withApp({ RATE_LIMIT_MAIL: '2/3600' }, async (t) => {
      const box = newEmail();
      for (let tag = 0; tag < 12; tag += 1) {
        const { email } = await signUp(t, { email: box.replace('@', `+${tag}@`) });
        await t.http.post('/v1/auth/request-password-reset').send({ email }).expect(200);
      }
      await outboxIsEmpty(t);
      const resets = mail.mails.filter(({ to, subject }) => to.startsWith(box.split('@')[0]!) && /Reset/.test(subject));
      expect(resets).toHaveLength(8);
    });
  });

  it('reject one change of email too many, and keep the last link valid', async () => {
    await withApp({ RATE_LIMIT_MAIL: '2/3600' }, async (t) => {
      const person = await admin(t);
      const wanted = newEmail();
      const ask = (n: number, { auth }: SignedInPerson = person) =>
        t.http
          .post('/v1/auth/change-email')
          .set({ ...auth, 'x-forwarded-for': `203.0.113.${n}` })
          .send({ newEmail: wanted, currentPassword: PASSWORD });
      await ask(1).expect(200);
      await mail.next(wanted, /new email/);
      await ask(2).expect(200);
      const { pathname, search } = linkIn(await mail.next(wanted, /new email/));
      expect((await ask(3).expect(429)).body).toMatchObject({ code: 'rate_limited' });
      // Another user may still request the same address.
      await ask(4, await admin(t)).expect(200);
      await t.http.get(`${pathname}${search}`).set(person.auth).expect(200, { status: true });
    });
  });

  it('drop mails silently where the response must not reveal an account, and log this for the operator', async () => {
    await withApp({ RATE_LIMIT_MAIL: '2/3600' }, async (t) => {
      const email = newEmail();
      const person = await signUp(t, { email });
      const request = (from: number) =>
        t.http.post('/v1/auth/send-verification-email').set('x-forwarded-for', `203.0.113.${from}`).send({ email: person.email });
      // The mail of the sign-up is the first one.
      expect((await request(1).expect(200)).body).toEqual({ status: true });
      expect((await request(2).expect(200)).body).toEqual({ status: true });
      await outboxIsEmpty(t);
      expect(mailsTo(email)).toBe(2);
      const { text } = await t.http.get('/metrics').expect(200);
      expect(text).toContain('tenantry_mails_total{kind="verification",outcome="queued"} 2');
      expect(text).toContain('tenantry_mails_total{kind="verification",outcome="dropped"} 1');
      const keys = await t.db.rows<{ key: string }>('SELECT key FROM rate_limits');
      expect(keys.filter(({ key }) => key.startsWith('mail:')).length).toBeGreaterThan(1);
      expect(keys.filter(({ key }) => key.includes('@'))).toEqual([]);
    });
  });

  it('still sends a notice to a recipient with no other mails left', async () => {
    await withApp({ RATE_LIMIT_MAIL: '1/3600' }, async (t) => {
      const person = await admin(t);
      const mallory = await admin(t);
      const organization = await createOrganization(t, mallory);
      for (const email of [person.email, `+x${person.email}`, ...Array.from({ length: 12 }, (_, n) => person.email.replace('@', `+${n}@`))])
        await invite(t, organization, mallory, email);
      await invite(t, organization, mallory, person.email).expect(409);
      await invite(t, organization, mallory, person.email.replace('@', '+99@')).expect(429);

      const wanted = newEmail();
      await t.http.post('/v1/auth/change-email').set(person.auth).send({ newEmail: wanted, currentPassword: PASSWORD }).expect(200);
      const { pathname, search } = linkIn(await mail.next(wanted, /new email/));
      await t.http.get(`${pathname}${search}`).set(person.auth).expect(200, { status: true });
      await mail.next(person.email, /was changed/);
    });
  });
});

import { startTestApp, type TestApp } from '../support/app.js';
import { linkIn, startMailServer } from '../support/mails.js';
import { PASSWORD, signIn, signUp } from '../support/people.js';

describe('the audit log of authentication', () => {
  let t: TestApp;
  let mail: Awaited<ReturnType<typeof startMailServer>>;
  beforeAll(async () => {
    mail = await startMailServer();
    t = await startTestApp({ SMTP_URL: mail.url });
  });
  afterAll(async () => {
    await t.close();
    await mail.close();
  });

  /** The entries about a user since the last call. */
  async function entriesOf(userId: string): Promise<{ action: string; actor_id: string; request_id: string; ip_address: string }[]> {
    const rows = await t.db.rows<{ action: string; actor_id: string; request_id: string; ip_address: string }>(
      'SELECT action, actor_id, request_id, ip_address FROM audit_log WHERE target_id = $1 ORDER BY created_at, id',
      [userId],
    );
    await t.db.rows(`BEGIN; SET LOCAL tenantry.audit_maintenance = 'on'; DELETE FROM audit_log; COMMIT`);
    return rows;
  }

  it('has one entry for each event, with actor, address and request', async () => {
    const ada = await signUp(t);
    expect(await entriesOf(ada.id)).toMatchObject([{ action: 'user.signed_up', actor_id: ada.id, ip_address: '127.0.0.1' }]);

    await t.http
      .post('/v1/auth/sign-in/email')
      .set('x-request-id', 'the-request')
      .send({ email: ada.email, password: PASSWORD })
      .expect(200);
    expect(await entriesOf(ada.id)).toMatchObject([{ action: 'user.signed_in', request_id: 'the-request' }]);

    const link = linkIn(await mail.next(ada.email, /confirm/i));
    await t.http.get(`${link.pathname}${link.search}`).set(ada.auth).expect(200);
    expect(await entriesOf(ada.id)).toMatchObject([{ action: 'user.email_verified' }]);

    const { body } = await t.http
      .post('/v1/auth/change-password')
      .set(ada.auth)
      .send({ currentPassword: PASSWORD, newPassword: 'another long password' })
      .expect(200);
    expect(await entriesOf(ada.id)).toMatchObject([{ action: 'user.password_changed' }]);
    const auth = { authorization: `Bearer ${body.token}` };

    await t.http
      .post('/v1/auth/change-email')
      .set(auth)
      .send({ newEmail: 'ada-new@example.com', currentPassword: 'another long password' })
      .expect(200);
    expect(await entriesOf(ada.id)).toMatchObject([{ action: 'user.email_change_requested' }]);
    const confirm = linkIn(await mail.next('ada-new@example.com'));
    await t.http.get(`${confirm.pathname}${confirm.search}`).set(auth).expect(200);
    expect(await entriesOf(ada.id)).toMatchObject([{ action: 'user.email_changed' }]);

    await t.http.post('/v1/auth/sign-out').set(auth).send({}).expect(200);
    expect(await entriesOf(ada.id)).toMatchObject([{ action: 'user.signed_out' }]);

    await t.http.post('/v1/auth/request-password-reset').send({ email: 'ada-new@example.com' }).expect(200);
    const token = /reset-password:\s+(\S+)/.exec((await mail.next('ada-new@example.com', /reset/i)).text)![1];
    await t.http.post('/v1/auth/reset-password').send({ token, newPassword: PASSWORD }).expect(200);
    expect(await entriesOf(ada.id)).toMatchObject([{ action: 'user.password_reset' }]);
  });

  it('has no entry for a rejected request', async () => {
    const ada = await signUp(t);
    await entriesOf(ada.id);
    await t.http.post('/v1/auth/sign-in/email').send({ email: ada.email, password: 'wrong password' }).expect(401);
    await t.http.post('/v1/auth/sign-up/email').send({ email: ada.email, name: 'x', password: PASSWORD }).expect(409);
    await t.http
      .post('/v1/auth/change-password')
      .set(ada.auth)
      .send({ currentPassword: 'wrong password', newPassword: PASSWORD })
      .expect(400);
    await t.http.post('/v1/auth/sign-out').set({ authorization: 'Bearer nobody.knows' }).send({});
    expect(await t.db.rows('SELECT action FROM audit_log')).toEqual([]);
  });

  it('prevents a sign-in when its entry cannot be written', async () => {
    const ada = await signUp(t);
    await t.db.rows(`ALTER TABLE audit_log ADD CONSTRAINT broken CHECK (action <> 'user.signed_in') NOT VALID`);
    try {
      await t.http.post('/v1/auth/sign-in/email').send({ email: ada.email, password: PASSWORD }).expect(500);
      expect(await t.db.rows('SELECT id FROM sessions WHERE user_id = $1', [ada.id])).toHaveLength(1);
    } finally {
      await t.db.rows('ALTER TABLE audit_log DROP CONSTRAINT broken');
    }
    await signIn(t, ada);
  });
});

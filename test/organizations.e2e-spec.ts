import { startMailServer } from './support/mails.js';
import { startTestApp, type TestApp } from './support/app.js';
import { signUp } from './support/people.js';

describe('organizations', () => {
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

  it('takes a person from creating an organization to a second member and a key', async () => {
    const ada = await signUp(t);
    const bob = await signUp(t);
    await t.db.rows('UPDATE users SET email_verified = true');
    const { body: organization } = await t.http.post('/v1/organizations').set(ada.auth).send({ name: 'Acmé Inc.' }).expect(201);
    expect(organization).toMatchObject({ name: 'Acmé Inc.', slug: 'acme-inc', role: 'admin' });
    const base = `/v1/organizations/${organization.id}`;
    await t.http.get(base).set(bob.auth).expect(404);

    const { body: invitation } = await t.http
      .post(`${base}/invitations`)
      .set(ada.auth)
      .send({ email: bob.email, role: 'member' })
      .expect(201);
    const { text } = await mail.next(bob.email, /invited/);
    const token = /accept:\s+(\S+)/.exec(text)![1];
    const { body: accepted } = await t.http.post('/v1/invitations/accept').set(bob.auth).send({ token }).expect(200);
    expect(accepted).toMatchObject({ id: invitation.id, status: 'accepted', role: 'member' });
    await t.http.get(base).set(bob.auth).expect(200);
    await t.http.patch(base).set(bob.auth).send({ name: 'Bob' }).expect(403);

    const { body: members } = await t.http.get(`${base}/memberships?sort=name`).set(bob.auth).expect(200);
    expect(members.data.map((member: { role: string }) => member.role)).toEqual(['admin', 'member']);
    const adas = members.data.find((member: { user: { id: string } }) => member.user.id === ada.id);
    const { body: refusal } = await t.http.delete(`${base}/memberships/${adas.id}`).set(ada.auth).expect(409);
    expect(refusal.code).toBe('last_admin');

    const { body: key } = await t.http
      .post(`${base}/api-keys`)
      .set(ada.auth)
      .set('Idempotency-Key', 'k1')
      .send({ name: 'k', scopes: ['members:read'] })
      .expect(201);
    const again = await t.http
      .post(`${base}/api-keys`)
      .set(ada.auth)
      .set('Idempotency-Key', 'k1')
      .send({ name: 'k', scopes: ['members:read'] })
      .expect(201);
    expect(again.body).toEqual(key);
    expect(again.headers['idempotent-replayed']).toBe('true');
    await t.http.get(`${base}/memberships`).set('x-api-key', key.key).expect(200);
    await t.http.get(base).set('x-api-key', key.key).expect(403);

    const { body: log } = await t.http.get(`${base}/audit-log`).set(ada.auth).expect(200);
    expect(log.data.map((entry: { action: string }) => entry.action)).toEqual([
      'api_key.created',
      'invitation.accepted',
      'invitation.created',
      'organization.created',
    ]);
    await t.http.delete(base).set(ada.auth).expect(204);
    await t.http.get(`${base}/memberships`).set('x-api-key', key.key).expect(401);
    await t.http.get(base).set(ada.auth).expect(404);
  });
});

import { GOOGLE_ENVIRONMENT, type OAuthSimulator, startOAuthSimulator } from '../../simulators/oauth.js';
import { ClerkApp, newClerkId } from '../../support/clerk/clerk-app.js';
import { membershipData, organizationData, userData } from '../../support/clerk/clerk-events.js';
import { PASSWORD, type SignedInPerson, signUp } from '../../support/people.js';
import { createOrganization } from '../../support/tenants.js';

const TRUSTED = 'https://app.example.com';
const HIDING = ['\u200B\u2060', '\u2800', 'Ada\u202Eevil', 'Ada\r\nBcc: x', 'Ada\x1B[31m', 'ad\u200Dmin', 'Ada\u2028Bob', '\u3164'];
const NEEDING = ['می\u200Cخواهم', '👩\u200D🚀 Crew', 'ක්\u200Dරි'];

describe('display names', () => {
  let clerk: ClerkApp;
  let providers: OAuthSimulator;
  let ada: SignedInPerson;
  let organization: { id: string; path: string };
  beforeAll(async () => {
    providers = await startOAuthSimulator();
    clerk = await ClerkApp.start({ ...GOOGLE_ENVIRONMENT, TRUSTED_ORIGINS: TRUSTED });
    ada = await signUp(clerk.t);
    organization = await createOrganization(clerk.t, ada);
  });
  afterAll(async () => {
    await clerk.close();
    await providers.close();
  });

  let counter = 0;
  /** A request for every route that sets a name. */
  const naming = (name: string) => {
    const { http } = clerk.t;
    const email = `named-${(counter += 1)}@example.com`;
    return [
      http.post('/v1/auth/sign-up/email').send({ name, email, password: PASSWORD }),
      http.patch('/v1/users/me').set(ada.auth).send({ name }),
      http.post('/v1/organizations').set(ada.auth).send({ name }),
      http.patch(organization.path).set(ada.auth).send({ name }),
      http
        .post(`${organization.path}/api-keys`)
        .set(ada.auth)
        .send({ name, scopes: ['usage:write'] }),
    ];
  };

  it.each(HIDING)('are rejected with the name of the field when they contain invisible text: %j', async (name) => {
    for (const request of naming(name)) {
      const { status, body } = await request;
      expect([status, body.code, body.errors.map(({ path }: { path: string }) => path)]).toEqual([400, 'invalid_request', ['body.name']]);
    }
  });

  it.each(NEEDING)('keep the joiners that scripts and emoji need: %s', async (name) => {
    for (const request of naming(` ${name} `)) {
      const { status, body } = await request;
      expect([status < 300, body.name ?? body.user.name]).toEqual([true, name]);
    }
  });

  it('that were stored before stay usable', async () => {
    const bob = await signUp(clerk.t);
    const { id, path } = await createOrganization(clerk.t, bob);
    await clerk.t.db.rows(`UPDATE users SET name = E'\\u200B' WHERE id = $1`, [bob.id]);
    await clerk.t.db.rows(`UPDATE organizations SET name = E'a\\u202Eb' WHERE id = $1`, [id]);
    const user = await clerk.t.http.patch('/v1/users/me').set(bob.auth).send({ username: 'bob' }).expect(200);
    expect(user.body).toMatchObject({ name: '\u200B', username: 'bob' });
    const changed = await clerk.t.http.patch(path).set(bob.auth).send({ imageUrl: 'https://example.com/a.png' }).expect(200);
    expect(changed.body.name).toBe('a\u202Eb');
  });

  it('are cleaned when Clerk sends them', async () => {
    const id = newClerkId('user');
    const user = { id, firstName: 'Ada\u202E\r\nLovelace', lastName: '\u200B\u2060', username: 'ada\u200B' };
    const org = { id: newClerkId('org'), name: '\u200BAcme\x1B\u2028Inc. 👩\u200D🚀' };
    await clerk.emit('user.created', userData(user));
    await clerk.emit('organization.created', organizationData(org));
    await clerk.emit('organizationMembership.created', membershipData({ id: newClerkId('orgmem'), organization: org, user }));
    expect(await clerk.user(id)).toMatchObject({ name: 'Ada  Lovelace', username: 'ada' });
    expect(await clerk.organizationsOf(id)).toEqual([expect.objectContaining({ name: 'Acme Inc. 👩\u200D🚀' })]);
  });

  it('are cleaned when a provider sends them', async () => {
    const { body, headers } = await clerk.t.http
      .post('/v1/auth/sign-in/social')
      .send({ provider: 'google', callbackURL: TRUSTED })
      .expect(200);
    const cookies = (headers['set-cookie'] as unknown as string[]).map((line) => line.split(';', 1)[0]!).join('; ');
    const person = { id: '4711', email: 'named@example.net', emailVerified: true, name: 'Ada\u202E\n\u200BLovelace' };
    const answer = await clerk.t.http
      .get(providers.agree(body.url as string, person))
      .set('cookie', cookies)
      .expect(302);
    const auth = { authorization: `Bearer ${answer.headers['set-auth-token']}` };
    const me = await clerk.t.http.get('/v1/users/me').set(auth).expect(200);
    expect(me.body.name).toBe('Ada Lovelace');
  });

  it.each(['gpt-5 ', 'gpt-5\u200B', '\tgpt-5', 'gpt\u00A05', 'mode\u0300le'])(
    'of models are rejected when they look like another: %j',
    async (model) => {
      const { http } = clerk.t;
      const event = { eventId: `event-${(counter += 1)}`, model, tokens: 1 };
      const recorded = await http.post(`${organization.path}/usage`).set(ada.auth).send(event);
      const held = await http.post(`${organization.path}/usage/holds`).set(ada.auth).send({ model, estimatedTokens: 1 });
      const price = { model, tokenClass: 'total', microsPerMillion: 1 };
      const priced = await http
        .put('/v1/prices')
        .set(clerk.operator.auth)
        .send({ prices: [price] });
      for (const { status, body } of [recorded, held, priced]) {
        expect([status, body.code]).toEqual([400, 'invalid_request']);
        expect(body.errors[0].path).toMatch(/model$/);
      }
      const batch = await http
        .post(`${organization.path}/usage/batch`)
        .set(ada.auth)
        .send({ events: [event] });
      expect(batch.body.results[0]).toMatchObject({ outcome: 'rejected', reason: 'invalid' });
    },
  );
});

import { startTestApp, type TestApp } from '../support/app.js';
import { signUp, type SignedInPerson } from '../support/people.js';

const UNKNOWN = '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182';

describe('accounts', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  const list = async (as: SignedInPerson) =>
    (await t.http.get('/v1/users/me/accounts').set(as.auth).expect(200)).body as {
      data: { id: string; provider: string }[];
      nextCursor: null;
    };
  const unlink = (as: SignedInPerson, id: string) => t.http.delete(`/v1/users/me/accounts/${id}`).set(as.auth);
  const link = async ({ id }: SignedInPerson, provider: string) =>
    (
      await t.db.rows<{ id: string }>(
        `INSERT INTO accounts (id, user_id, provider, provider_account_id, access_token) VALUES (gen_random_uuid(), $1, $2, gen_random_uuid(), 'sealed') RETURNING id`,
        [id, provider],
      )
    )[0]!.id;

  it('require a session', async () => {
    expect((await t.http.get('/v1/users/me/accounts').expect(401)).body.code).toBe('signed_out');
    expect((await t.http.delete(`/v1/users/me/accounts/${UNKNOWN}`).expect(401)).body.code).toBe('signed_out');
  });

  it('are listed oldest first, without secrets', async () => {
    const person = await signUp(t);
    await link(person, 'google');
    const body = await list(person);
    expect(body).toEqual({
      data: [
        { id: expect.any(String), provider: 'credential', providerAccountId: person.id, createdAt: expect.stringMatching(/Z$/) },
        { id: expect.any(String), provider: 'google', providerAccountId: expect.any(String), createdAt: expect.stringMatching(/Z$/) },
      ],
      nextCursor: null,
    });
    await t.http.get('/v1/users/me/accounts?limit=1').set(person.auth).expect(200);
  });

  it('can be unlinked, and the others stay', async () => {
    const person = await signUp(t);
    const google = await link(person, 'google');
    await unlink(person, google).expect(204);
    expect((await unlink(person, google).expect(404)).body.code).toBe('account_not_found');
    expect((await list(person)).data.map(({ provider }) => provider)).toEqual(['credential']);
  });

  it('keep the last one', async () => {
    const person = await signUp(t);
    const [only] = (await list(person)).data;
    const answer = await unlink(person, only!.id).expect(409);
    expect(answer.body).toMatchObject({ code: 'last_account', status: 409 });
    expect((await list(person)).data).toHaveLength(1);
  });

  it('keep one of two, also in concurrent requests', async () => {
    for (let round = 0; round < 5; round += 1) {
      const person = await signUp(t);
      await link(person, 'google');
      await link(person, 'github');
      const all = (await list(person)).data;
      const answers = await Promise.all([...all, ...all].map(({ id }) => unlink(person, id)));
      const statuses = answers.map(({ status }) => status);
      expect(statuses.filter((status) => status === 204)).toHaveLength(2);
      expect(statuses.filter((status) => ![204, 404, 409].includes(status))).toEqual([]);
      expect((await list(person)).data).toHaveLength(1);
    }
  });

  it('of another user cannot be unlinked and look unknown', async () => {
    const [person, otherUser] = [await signUp(t), await signUp(t)];
    const google = await link(person, 'google');
    await link(otherUser, 'google');
    const theirs = await unlink(otherUser, google).expect(404);
    const unknown = await unlink(otherUser, UNKNOWN).expect(404);
    expect({ ...theirs.body, requestId: '' }).toEqual({ ...unknown.body, requestId: '' });
    expect((await list(person)).data).toHaveLength(2);
  });

  it('reject an invalid id and name it', async () => {
    const person = await signUp(t);
    const { body } = await unlink(person, 'google').expect(400);
    expect(body.errors).toEqual([{ path: 'params.accountId', message: 'accountId must be a UUID' }]);
  });
});

import { startTestApp, type TestApp } from '../support/app.js';
import { signIn, signUp, type SignedInPerson } from '../support/people.js';

interface SessionBody {
  id: string;
  current: boolean;
}

const UNKNOWN = '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182';

describe('sessions', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  const list = async (as: SignedInPerson, query = '') =>
    (await t.http.get(`/v1/sessions${query}`).set(as.auth).expect(200)).body as { data: SessionBody[]; nextCursor: string | null };
  const current = async (as: SignedInPerson) => (await t.http.get('/v1/sessions/current').set(as.auth).expect(200)).body as SessionBody;

  it('require a session on every route', async () => {
    for (const [method, path] of [
      ['get', '/v1/sessions'],
      ['get', '/v1/sessions/current'],
      ['delete', '/v1/sessions'],
      ['delete', `/v1/sessions/${UNKNOWN}`],
    ] as const)
      expect((await t.http[method](path).expect(401)).body.code).toBe('signed_out');
  });

  it('of the caller are listed with the current one marked', async () => {
    const first = await signUp(t);
    const second = await signIn(t, first);
    const { data, nextCursor } = await list(second);
    expect(data.map((session) => session.current)).toEqual([true, false]);
    expect(nextCursor).toBeNull();
    expect((await list(first)).data.map((session) => session.current)).toEqual([false, true]);
  });

  it('show device, address and times, and nothing of the token', async () => {
    const person = await signUp(t);
    await t.http
      .post('/v1/auth/sign-in/email')
      .set('user-agent', 'Mozilla/5.0 (Test)')
      .send({ email: person.email, password: 'correct horse battery staple' })
      .expect(200);
    const [session] = (await list(person)).data;
    expect(session).toEqual({
      id: expect.stringMatching(/^[\da-f-]{36}$/),
      current: false,
      ipAddress: '127.0.0.1',
      userAgent: 'Mozilla/5.0 (Test)',
      createdAt: expect.stringMatching(/Z$/),
      lastUsedAt: expect.stringMatching(/Z$/),
      expiresAt: expect.stringMatching(/Z$/),
    });
    const [row] = await t.db.rows<{ token: string }>('SELECT token FROM sessions WHERE id = $1', [session!.id]);
    expect(row!.token).toMatch(/^[\w-]{43}$/);
    expect(person.token).not.toContain(row!.token);
  });

  it('are not listed when they expired, ended or belong to others', async () => {
    const person = await signUp(t);
    const [expired, ended] = [await signIn(t, person), await signIn(t, person)];
    await t.db.rows(`UPDATE sessions SET expires_at = now() WHERE id = $1`, [(await current(expired)).id]);
    await t.db.rows(`UPDATE sessions SET ended_at = now() WHERE id = $1`, [(await current(ended)).id]);
    await signUp(t);
    expect((await list(person)).data).toEqual([expect.objectContaining({ current: true })]);
  });

  it('are rejected at the next request after they were revoked', async () => {
    const first = await signUp(t);
    const second = await signIn(t, first);
    const { id } = await current(second);
    await t.http.delete(`/v1/sessions/${id}`).set(first.auth).expect(204);
    await t.http.get('/v1/users/me').set(second.auth).expect(401);
    await t.http.get('/v1/users/me').set({ cookie: second.cookie }).expect(401);
    await t.http.get('/v1/users/me').set(first.auth).expect(200);
    expect((await t.http.delete(`/v1/sessions/${id}`).set(first.auth).expect(404)).body.code).toBe('session_not_found');
  });

  it('can end themselves', async () => {
    const person = await signUp(t);
    await t.http
      .delete(`/v1/sessions/${(await current(person)).id}`)
      .set(person.auth)
      .expect(204);
    await t.http.get('/v1/sessions/current').set(person.auth).expect(401);
  });

  it('of another user cannot be ended and look unknown', async () => {
    const [person, otherUser] = [await signUp(t), await signUp(t)];
    const theirs = await t.http
      .delete(`/v1/sessions/${(await current(person)).id}`)
      .set(otherUser.auth)
      .expect(404);
    const unknown = await t.http.delete(`/v1/sessions/${UNKNOWN}`).set(otherUser.auth).expect(404);
    expect({ ...theirs.body, requestId: '' }).toEqual({ ...unknown.body, requestId: '' });
    await t.http.get('/v1/users/me').set(person.auth).expect(200);
    await t.http.delete('/v1/sessions/abc').set(otherUser.auth).expect(400);
  });

  it('except the current one can all be ended', async () => {
    const first = await signUp(t);
    const others = [await signIn(t, first), await signIn(t, first)];
    const otherUser = await signUp(t);
    expect((await t.http.delete('/v1/sessions').set(first.auth).expect(200)).body).toEqual({ revoked: 2 });
    for (const other of others) await t.http.get('/v1/users/me').set(other.auth).expect(401);
    await t.http.get('/v1/users/me').set(first.auth).expect(200);
    await t.http.get('/v1/users/me').set(otherUser.auth).expect(200);
    expect((await t.http.delete('/v1/sessions').set(first.auth).expect(200)).body).toEqual({ revoked: 0 });
  });

  it('that end all others concurrently leave at most one', async () => {
    const first = await signUp(t);
    const second = await signIn(t, first);
    const statuses = (await Promise.all([first, second].map((one) => t.http.delete('/v1/sessions').set(one.auth)))).map(
      ({ status }) => status,
    );
    expect(statuses.filter((status) => status !== 200 && status !== 401)).toEqual([]);
    const alive = await Promise.all([first, second].map(async (one) => (await t.http.get('/v1/users/me').set(one.auth)).status));
    // Each may have ended the other, but both alive would mean that neither request took effect.
    expect(alive.filter((status) => status === 200).length).toBeLessThan(2);
  });

  it('of Clerk are marked as ended and kept', async () => {
    const person = await signUp(t);
    await t.db.rows(
      `INSERT INTO sessions (id, user_id, clerk_session_id, expires_at) VALUES (gen_random_uuid(), $1, 'sess_1', now() + interval '1 hour')`,
      [person.id],
    );
    const clerk = (await list(person)).data.find(({ current: isCurrent }) => !isCurrent)!;
    await t.http.delete(`/v1/sessions/${clerk.id}`).set(person.auth).expect(204);
    const [row] = await t.db.rows(
      `SELECT ended_at IS NOT NULL AS ended, expires_at > now() + interval '29 days' AS kept FROM sessions WHERE id = $1`,
      [clerk.id],
    );
    expect(row).toEqual({ ended: true, kept: true });
    await t.http.delete(`/v1/sessions/${clerk.id}`).set(person.auth).expect(404);
    expect((await list(person)).data).toHaveLength(1);
  });

  it('are each listed once, newest first, while others are opened', async () => {
    const person = await signUp(t);
    await t.db.rows(
      `INSERT INTO sessions (id, user_id, token, expires_at, created_at)
       SELECT gen_random_uuid(), $1, 'page-' || n, now() + interval '1 day', timestamptz '2024-01-01' + (n / 5) * interval '1 ms' FROM generate_series(1, 33) n`,
      [person.id],
    );
    const expected = await t.db.rows<{ id: string }>('SELECT id FROM sessions WHERE user_id = $1 ORDER BY created_at DESC, id DESC', [
      person.id,
    ]);
    const seen: string[] = [];
    let query = '?limit=4';
    for (;;) {
      const { data, nextCursor } = await list(person, query);
      seen.push(...data.map(({ id }) => id));
      if (nextCursor === null) break;
      query = `?limit=4&cursor=${nextCursor}`;
      await signIn(t, person);
    }
    expect(seen).toEqual(expected.map(({ id }) => id));
  });

  it.each([
    'limit=0',
    'limit=101',
    'limit=abc',
    'limit=1.5',
    'limit=1&limit=2',
    'cursor=a&cursor=b',
    'cursor=%00',
    'userId=1',
    'current=true',
  ])('reject ?%s and name the parameter', async (query) => {
    const person = await signUp(t);
    const { body } = await t.http.get(`/v1/sessions?${query}`).set(person.auth).expect(400);
    expect(body.errors[0].path).toBe(`query.${/^\w+/.exec(query)![0]}`);
  });

  it('reject a cursor of another user', async () => {
    const [first, second] = [await signUp(t), await signUp(t)];
    await signIn(t, first);
    const { nextCursor } = await list(first, '?limit=1');
    expect((await t.http.get(`/v1/sessions?limit=1&cursor=${nextCursor}`).set(second.auth).expect(400)).body.code).toBe('invalid_cursor');
  });
});

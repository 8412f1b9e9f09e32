import { startTestApp, type TestApp } from './support/app.js';
import { signIn, signUp } from './support/people.js';

describe('sessions', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  it('lists the sessions of the caller and marks the current one', async () => {
    const first = await signUp(t);
    const second = await signIn(t, first);
    const { body } = await t.http.get('/v1/sessions').set(second.auth).expect(200);
    expect(body.data).toHaveLength(2);
    expect(body.data.map((session: { current: boolean }) => session.current)).toEqual([true, false]);
    expect(body.nextCursor).toBeNull();
  });

  it('refuses a revoked session at the next request', async () => {
    const first = await signUp(t);
    const second = await signIn(t, first);
    const { body } = await t.http.get('/v1/sessions/current').set(second.auth).expect(200);
    await t.http.delete(`/v1/sessions/${body.id}`).set(first.auth).expect(204);
    await t.http.get('/v1/users/me').set(second.auth).expect(401);
    await t.http.get('/v1/users/me').set(first.auth).expect(200);
  });
});

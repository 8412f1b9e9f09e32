import pg from 'pg';
import { startTestApp, type TestApp } from '../../support/app.js';
import { signUp, type SignedInPerson } from '../../support/people.js';

describe('more concurrent requests than a process accepts', () => {
  let t: TestApp;
  let person: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp({ MAX_CONCURRENT_REQUESTS: '3' });
    person = await signUp(t);
  });
  afterAll(() => t.close());

  it('are refused with 503 and Retry-After at once, except health checks, and accepted again afterwards', async () => {
    // Changes of the profile wait for this lock, so three requests are in progress until it is released.
    const holder = new pg.Client({ connectionString: t.db.url });
    await holder.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT 1 FROM users WHERE id = $1 FOR UPDATE', [person.id]);
    const rename = (name: string) =>
      t.http
        .patch('/v1/users/me')
        .set(person.auth)
        .send({ name })
        .then(({ status }) => status);
    const atWork = [rename('a'), rename('b'), rename('c')];
    let refused;
    do {
      refused = await t.http.get('/v1/users/me').set(person.auth);
    } while (refused.status === 200);
    expect(refused.status).toBe(503);
    expect(refused.headers['retry-after']).toBe('1');
    expect(refused.body).toMatchObject({ code: 'service_unavailable', requestId: refused.headers['x-request-id'] });
    await t.http.get('/health/live').expect(200);

    await holder.query('COMMIT');
    await holder.end();
    expect(await Promise.all(atWork)).toEqual([200, 200, 200]);
    await t.http.get('/v1/users/me').set(person.auth).expect(200);
  });
});

import { SYSTEM } from '../../../src/access/principal.js';
import { EventRank } from '../../../src/sync/event-version.js';
import { DATABASE, type Database } from '../../../src/platform/database/database.js';
import { ClerkSync } from '../../../src/providers/clerk/clerk-sync.service.js';
import { CLERK_ISSUER, type ClerkKey, clerkToken, makeClerkKey } from '../../simulators/clerk.js';
import { type ClerkApiSimulator, startClerkApiSimulator } from '../../simulators/clerk-api.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { signUpOperator } from '../../support/people.js';
import { until } from '../../support/until.js';

const PARTY = 'https://app.example.com';

let counter = 0;

describe('revoking a Clerk session here', () => {
  let t: TestApp;
  let clerk: ClerkApiSimulator;
  let key: ClerkKey;

  const environment = () => ({ CLERK_ISSUER, CLERK_JWT_KEY: key.pem, CLERK_AUTHORIZED_PARTIES: PARTY });
  beforeAll(async () => {
    clerk = await startClerkApiSimulator();
    key = await makeClerkKey('key-1');
    t = await startTestApp({ ...environment(), CLERK_SECRET_KEY: clerk.secretKey, CLERK_API_URL: clerk.url });
  });
  afterAll(async () => {
    await t.close();
    await clerk.close();
  });

  /** Signs a new user in with Clerk on one or more devices. */
  const signInWithClerk = async (devices = 1, app = t) => {
    counter += 1;
    const clerkUserId = `user_${counter}`;
    const sessions = [];
    for (let device = 1; device <= devices; device += 1) {
      const id = `sess_${counter}_${device}`;
      clerk.sessions.set(id, { object: 'session', id, created_at: Date.now(), status: 'active' });
      const auth = { authorization: `Bearer ${await clerkToken(key, { sub: clerkUserId, sid: id })}` };
      const { body } = await app.http.get('/v1/sessions/current').set(auth).expect(200);
      sessions.push({ clerkSessionId: id, id: body.id as string, auth });
    }
    const { body } = await app.http.get('/v1/users/me').set(sessions[0]!.auth).expect(200);
    return { clerkUserId, id: body.id as string, sessions };
  };
  const revocationsOf = (...sessions: { clerkSessionId: string }[]) =>
    sessions.map(({ clerkSessionId }) => clerk.calls.filter((call) => call === `POST /v1/sessions/${clerkSessionId}/revoke`).length);
  const entries = (app = t) =>
    app.db.rows<{ attempts: number; isDone: boolean; last_error: string | null }>(
      `SELECT attempts, done_at IS NOT NULL AS "isDone", last_error FROM outbox WHERE kind = 'clerk.session.revoke' ORDER BY created_at, id`,
    );
  const allDone = () =>
    until(
      async () => (await entries()).every(({ isDone }) => isDone),
      async () => JSON.stringify(await entries()),
    );

  it('rejects its token at once, and revokes it at Clerk once', async () => {
    const { sessions } = await signInWithClerk(2);
    const [one, other] = sessions as [(typeof sessions)[0], (typeof sessions)[0]];
    await t.http.delete(`/v1/sessions/${one.id}`).set(one.auth).expect(204);
    await t.http.get('/v1/users/me').set(one.auth).expect(401);
    await t.http.get('/v1/users/me').set(other.auth).expect(200);
    await allDone();
    expect(clerk.sessions.get(one.clerkSessionId)?.status).toBe('revoked');
    expect(revocationsOf(one, other)).toEqual([1, 0]);
  });

  it('revokes all other sessions of the user at Clerk', async () => {
    const { sessions } = await signInWithClerk(3);
    const { body } = await t.http.delete('/v1/sessions').set(sessions[0]!.auth).expect(200);
    expect(body).toEqual({ revoked: 2 });
    await allDone();
    expect(revocationsOf(...sessions)).toEqual([0, 1, 1]);
    await t.http.delete('/v1/sessions').set(sessions[0]!.auth).expect(200);
    await allDone();
    expect(revocationsOf(...sessions)).toEqual([0, 1, 1]);
  });

  it('revokes it at Clerk when an operator revokes it', async () => {
    const { id, sessions } = await signInWithClerk(2);
    const operator = await signUpOperator(t);
    await t.http.delete(`/v1/users/${id}/sessions`).set(operator.auth).expect(200);
    await allDone();
    expect(revocationsOf(...sessions)).toEqual([1, 1]);
  });

  it('revokes it at Clerk later when Clerk is unavailable at first', async () => {
    const { sessions } = await signInWithClerk();
    const [session] = sessions as [(typeof sessions)[0]];
    // Every revocation fails until the first failure is recorded; the nightly job calls Clerk too.
    clerk.control.onCall = (call) => {
      if (call.includes('/revoke')) clerk.faults.push({ status: 503 });
    };
    await t.http.delete(`/v1/sessions/${session.id}`).set(session.auth).expect(204);
    await until(async () => (await entries()).some(({ last_error: error }) => error !== null));
    clerk.control.onCall = undefined;
    await t.http.get('/v1/users/me').set(session.auth).expect(401);
    expect(clerk.sessions.get(session.clerkSessionId)?.status).toBe('active');
    await allDone();
    expect(clerk.sessions.get(session.clerkSessionId)?.status).toBe('revoked');
    expect(revocationsOf(session)).toEqual([2]);
  });

  it('does not revoke it at Clerk when Clerk reported the end', async () => {
    const { clerkUserId, id, sessions } = await signInWithClerk(2);
    const sync = t.app.get(ClerkSync);
    const version = { at: new Date().toISOString(), rank: EventRank.update, messageId: 'msg_1', actor: SYSTEM };
    const before = (await entries()).length;
    await t.app.get<Database>(DATABASE).transaction(async (tx) => {
      await sync.applySession({ ...version, data: { id: sessions[0]!.clerkSessionId, user_id: clerkUserId } }, true, {}, tx);
      await sync.applyUserDeletion({ ...version, data: { id: clerkUserId } }, tx);
    });
    const rows = await t.db.rows('SELECT FROM sessions WHERE user_id = $1 AND ended_at IS NOT NULL', [id]);
    expect(rows).toHaveLength(2);
    expect(await entries()).toHaveLength(before);
  });

  it('does not revoke it at Clerk when the transaction here fails', async () => {
    const { sessions } = await signInWithClerk();
    const before = (await entries()).length;
    await t.db.rows(`ALTER TABLE audit_log ADD CONSTRAINT nothing CHECK (action <> 'session.revoked') NOT VALID`);
    await t.http.delete(`/v1/sessions/${sessions[0]!.id}`).set(sessions[0]!.auth).expect(500);
    await t.db.rows('ALTER TABLE audit_log DROP CONSTRAINT nothing');
    expect(await entries()).toHaveLength(before);
    await t.http.get('/v1/users/me').set(sessions[0]!.auth).expect(200);
  });

  it('only revokes it here without a key for Clerk’s API', async () => {
    const unconfigured = await startTestApp(environment());
    try {
      const { sessions } = await signInWithClerk(2, unconfigured);
      await unconfigured.http.delete('/v1/sessions').set(sessions[0]!.auth).expect(200);
      await unconfigured.http.delete(`/v1/sessions/${sessions[0]!.id}`).set(sessions[0]!.auth).expect(204);
      for (const { auth } of sessions) await unconfigured.http.get('/v1/users/me').set(auth).expect(401);
      expect(await entries(unconfigured)).toEqual([]);
    } finally {
      await unconfigured.close();
    }
  });
});

import type { AddressInfo } from 'node:net';
import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { jest } from '@jest/globals';
import supertest from 'supertest';
import { AppModule } from '../../src/app.module.js';
import { loadConfig } from '../../src/platform/config/config.js';
import { PipelinedPool } from '../../src/platform/database/pipeline/pipelined-pool.js';
import { startTestApp, testEnvironment, type TestApp } from '../support/app.js';
import { until } from '../support/until.js';
import { PASSWORD, signIn, signUp, signUpOperator, type SignedInPerson } from '../support/people.js';

const ORIGIN = 'https://app.example.com';
const HOUR = 3600;
const DAY = 24 * HOUR;

describe('the guard', () => {
  let t: TestApp;
  let person: SignedInPerson;
  let operator: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp({ TRUSTED_ORIGINS: ORIGIN, SESSION_IDLE_SECONDS: String(7 * DAY), SESSION_ABSOLUTE_SECONDS: String(30 * DAY) });
    person = await signUp(t);
    operator = await signUpOperator(t);
  });
  afterAll(() => t.close());

  const me = (headers: Record<string, string>) => t.http.get('/v1/users/me').set(headers);
  const rename = (headers: Record<string, string>) => t.http.patch('/v1/users/me').set(headers).send({ name: 'Renamed' });

  describe('credentials', () => {
    it('are accepted as a token or as a cookie', async () => {
      expect((await me(person.auth).expect(200)).body.id).toBe(person.id);
      expect((await me({ cookie: person.cookie }).expect(200)).body.id).toBe(person.id);
      expect((await me({ cookie: `other=1; ${person.cookie}; last=2` }).expect(200)).body.id).toBe(person.id);
      expect((await me({ authorization: `bearer  ${person.token} ` }).expect(200)).body.id).toBe(person.id);
    });

    it('are required, and the response names the scheme', async () => {
      const answer = await t.http.get('/v1/users/me').expect(401);
      expect(answer.body.code).toBe('signed_out');
      expect(answer.headers['www-authenticate']).toBe('Bearer');
    });

    it('in a cookie are not used when the header is invalid', async () => {
      const wrong = [
        'Bearer',
        'Bearer ',
        'Bearer nonsense',
        'Bearer a.b',
        'Bearer a.b.c',
        `Basic ${btoa('a:b')}`,
        `Token ${person.token}`,
        person.token,
      ];
      for (const authorization of [
        ...wrong,
        `Bearer ${person.token}x`,
        `Bearer ${person.token} ${person.token}`,
        `Bearer x${person.token}`,
      ]) {
        const answer = await me({ authorization, cookie: person.cookie });
        expect({ authorization, status: answer.status, code: answer.body.code }).toEqual({
          authorization,
          status: 401,
          code: 'invalid_credentials',
        });
        expect(answer.headers['www-authenticate']).toBe('Bearer');
      }
      expect((await me({ 'x-api-key': 'tk_nonsense', cookie: person.cookie }).expect(401)).body.code).toBe('invalid_credentials');
    });

    it('in the header take precedence over a cookie of another user', async () => {
      expect((await me({ ...operator.auth, cookie: person.cookie }).expect(200)).body.id).toBe(operator.id);
    });

    it('in two headers are rejected', async () => {
      const answer = await me({ ...person.auth, 'x-api-key': 'tk_1' }).expect(400);
      expect(answer.body.code).toBe('ambiguous_credentials');
    });

    it('in a cookie that is invalid, empty or differently named are rejected', async () => {
      const [name, value] = person.cookie.split('=', 2) as [string, string];
      for (const cookie of [`${name}=`, `${name}=abc`, `${name}=${value}x`, `${name}=%00`, `${name}=%ff.%ff`, `${name}=.${value}`])
        await me({ cookie }).expect(401);
      expect((await me({ cookie: `x${person.cookie}` }).expect(401)).body.code).toBe('signed_out');
      expect((await me({ cookie: 'nonsense' }).expect(401)).body.code).toBe('signed_out');
    });
  });

  describe('the origin of a change', () => {
    it('must be trusted when a cookie authenticates it', async () => {
      expect((await rename({ cookie: person.cookie }).expect(403)).body.code).toBe('untrusted_origin');
      for (const origin of ['https://evil.example', 'null', '', `${ORIGIN}.evil.example`, `${ORIGIN}/`, ORIGIN.toUpperCase()])
        expect((await rename({ cookie: person.cookie, origin }).expect(403)).body.code).toBe('untrusted_origin');
      for (const method of ['delete', 'post'] as const) {
        const path = method === 'delete' ? '/v1/sessions' : '/v1/auth/link-social';
        await t.http[method](path).set({ cookie: person.cookie, origin: 'https://evil.example' }).expect(403);
      }
      await rename({ cookie: person.cookie, origin: ORIGIN }).expect(200);
      await rename({ cookie: person.cookie, origin: 'http://localhost:3000' }).expect(200);
    });

    it('is not checked for reads, or with a token', async () => {
      await me({ cookie: person.cookie, origin: 'https://evil.example' }).expect(200);
      await rename(person.auth).expect(200);
      await rename({ ...person.auth, origin: 'https://evil.example', cookie: person.cookie }).expect(200);
    });
  });

  describe('refused callers', () => {
    it('include an expired session', async () => {
      const formerUser = await signUp(t);
      await t.db.rows(`UPDATE sessions SET expires_at = now() - interval '1 ms' WHERE user_id = $1`, [formerUser.id]);
      expect((await me(formerUser.auth).expect(401)).body.code).toBe('invalid_credentials');
      await me({ cookie: formerUser.cookie }).expect(401);
    });

    it('include an ended session, whether deleted or marked', async () => {
      const formerUser = await signUp(t);
      const marked = await signIn(t, formerUser);
      await t.db.rows(
        `UPDATE sessions SET ended_at = now() WHERE id = (SELECT id FROM sessions WHERE user_id = $1 ORDER BY created_at DESC LIMIT 1)`,
        [formerUser.id],
      );
      await me(marked.auth).expect(401);
      await me(formerUser.auth).expect(200);
      await t.db.rows('DELETE FROM sessions WHERE user_id = $1', [formerUser.id]);
      await me(formerUser.auth).expect(401);
    });

    it('include a deleted user with a remaining session', async () => {
      const formerUser = await signUp(t);
      await t.db.rows('UPDATE users SET deleted_at = now(), email = NULL WHERE id = $1', [formerUser.id]);
      expect((await me(formerUser.auth).expect(401)).body.code).toBe('invalid_credentials');
    });

    it('include a suspended user, with 403 on every route', async () => {
      const suspended = await signUp(t);
      await t.db.rows('UPDATE users SET suspended_at = now() WHERE id = $1', [suspended.id]);
      for (const path of ['/v1/users/me', '/v1/sessions', '/v1/sessions/current', '/v1/users'])
        expect((await t.http.get(path).set(suspended.auth).expect(403)).body.code).toBe('user_suspended');
      await me({ cookie: suspended.cookie }).expect(403);
      await t.db.rows('UPDATE users SET suspended_at = NULL WHERE id = $1', [suspended.id]);
      await me(suspended.auth).expect(200);
    });

    it('include everyone but operators on operator routes', async () => {
      for (const [method, path] of [
        ['get', '/v1/users'],
        ['get', `/v1/users/${person.id}/sessions`],
        ['delete', `/v1/users/${person.id}/sessions`],
        ['post', `/v1/users/${operator.id}/suspend`],
        ['post', `/v1/users/${person.id}/unsuspend`],
        ['get', '/v1/jobs'],
        ['post', '/v1/jobs/expire_sessions/run'],
      ] as const) {
        expect((await t.http[method](path).set(person.auth).expect(403)).body.code).toBe('operator_only');
        expect((await t.http[method](path).expect(401)).body.code).toBe('signed_out');
      }
      await t.http.get('/v1/users').set(operator.auth).expect(200);
      await t.db.rows('UPDATE users SET operator = false WHERE id = $1', [operator.id]);
      await t.http.get('/v1/users').set(operator.auth).expect(403);
      await t.db.rows('UPDATE users SET operator = true WHERE id = $1', [operator.id]);
    });

    it('include everyone on a route without declared access', async () => {
      let calls = 0;
      @Controller('v1/forgotten')
      class ForgottenController {
        @Get()
        read(): object {
          calls += 1;
          return { secret: true };
        }
      }
      @Module({ controllers: [ForgottenController] })
      class ForgottenModule {}
      @Module({ imports: [AppModule.register(loadConfig(testEnvironment(t.db.url))), ForgottenModule] })
      class WithForgotten {}
      const app = await NestFactory.create(WithForgotten, { logger: false });
      try {
        await app.listen(0, '127.0.0.1');
        const http = supertest(`http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}`);
        for (const headers of [{}, person.auth, operator.auth]) {
          const answer = await http.get('/v1/forgotten').set(headers).expect(500);
          expect(answer.body.code).toBe('access_undeclared');
        }
        await http.get('/v1/users/me').set(person.auth).expect(200);
        expect(calls).toBe(0);
      } finally {
        await app.close();
      }
    });

    it('include a revoked session at its next request on another process', async () => {
      const other = await startTestApp({}, t.db);
      try {
        const first = await signUp(t);
        const second = await signIn(t, first);
        for (let warm = 0; warm < 5; warm += 1) await other.http.get('/v1/users/me').set(second.auth).expect(200);
        await t.http.delete('/v1/sessions').set(first.auth).expect(200);
        await other.http.get('/v1/users/me').set(second.auth).expect(401);
        await other.http.get('/v1/users/me').set(first.auth).expect(200);
      } finally {
        await other.close();
      }
    });
  });

  describe('the use of a session', () => {
    interface Row extends Record<string, unknown> {
      expires: number;
      used: number;
      age: number;
    }
    const rowOf = async ({ id }: SignedInPerson) =>
      (
        await t.db.rows<Row>(
          `SELECT xmin::text, ctid::text, expires_at, last_used_at, extract(epoch FROM expires_at - now())::float8 AS expires,
                  extract(epoch FROM now() - last_used_at)::float8 AS used, extract(epoch FROM now() - created_at)::float8 AS age
             FROM sessions WHERE user_id = $1`,
          [id],
        )
      )[0]!;
    const age = ({ id }: SignedInPerson, { created, used, expires }: { created: number; used: number; expires: number }) =>
      t.db.rows(
        `UPDATE sessions SET created_at = now() - $2 * interval '1 second', last_used_at = now() - $3 * interval '1 second',
                expires_at = now() + $4 * interval '1 second' WHERE user_id = $1`,
        [id, created, used, expires],
      );
    /** The row once its use is recorded, which happens apart from the request. */
    const usedRowOf = (owner: SignedInPerson) =>
      until(async () => {
        const row = await rowOf(owner);
        return row.used < 30 && row;
      });
    const maxAgeOf = (answer: { headers: Record<string, unknown> }) => {
      const cookies = (answer.headers['set-cookie'] ?? []) as string[];
      expect(cookies.length).toBeLessThan(2);
      return cookies.map((cookie) => Number(/Max-Age=(\d+)/.exec(cookie)?.[1]))[0];
    };

    it('does not write to the database in most requests', async () => {
      const busy = await signUp(t);
      await me(busy.auth).expect(200);
      const before = await rowOf(busy);
      await Promise.all(Array.from({ length: 50 }, () => me(busy.auth).expect(200)));
      const { xmin, ctid, last_used_at } = await rowOf(busy);
      expect({ xmin, ctid, last_used_at }).toEqual({ xmin: before['xmin'], ctid: before['ctid'], last_used_at: before['last_used_at'] });
    });

    it('extends it after the touch interval, together with its cookie', async () => {
      const slow = await signUp(t);
      await age(slow, { created: DAY, used: 59 - 10, expires: 6 * DAY });
      expect(maxAgeOf(await me({ cookie: slow.cookie }).expect(200))).toBeUndefined();
      await age(slow, { created: DAY, used: 61, expires: 6 * DAY });
      const answer = await me({ cookie: slow.cookie }).expect(200);
      expect(maxAgeOf(answer)).toBeGreaterThan(7 * DAY - 30);
      expect(maxAgeOf(answer)).toBeLessThanOrEqual(7 * DAY);
      const [cookie] = answer.headers['set-cookie'] as unknown as [string];
      expect(cookie).toMatch(/; Path=\/; HttpOnly; SameSite=Lax$/);
      const row = await usedRowOf(slow);
      expect(row.expires).toBeGreaterThan(7 * DAY - 30);
      // The new cookie works, and the next request writes nothing.
      expect(maxAgeOf(await me({ cookie: cookie.split(';', 1)[0]! }).expect(200))).toBeUndefined();
    });

    it('extends it once in concurrent requests, without waiting or failing', async () => {
      const busy = await signUp(t);
      await age(busy, { created: DAY, used: 120, expires: 6 * DAY });
      const answers = await Promise.all(Array.from({ length: 30 }, () => me({ cookie: busy.cookie }).expect(200)));
      expect(answers.filter((answer) => maxAgeOf(answer) !== undefined)).toHaveLength(1);
    });

    it('extends it for a token without setting a cookie', async () => {
      const api = await signUp(t);
      await age(api, { created: DAY, used: 120, expires: DAY });
      expect(maxAgeOf(await me(api.auth).expect(200))).toBeUndefined();
      expect((await usedRowOf(api)).expires).toBeGreaterThan(7 * DAY - 30);
    });

    it('does not extend it beyond its absolute end', async () => {
      const old = await signUp(t);
      await age(old, { created: 29 * DAY, used: 120, expires: HOUR });
      const answer = await me({ cookie: old.cookie }).expect(200);
      expect(maxAgeOf(answer)).toBeGreaterThan(DAY - 30);
      expect(maxAgeOf(answer)).toBeLessThanOrEqual(DAY);
      expect((await usedRowOf(old)).expires).toBeLessThanOrEqual(DAY);
      // At the absolute end, the expiry does not move. A use that follows within the pause of the batches is not recorded.
      await age(old, { created: 30 * DAY - 60, used: 120, expires: 60 });
      await until(async () => {
        await me(old.auth).expect(200);
        return (await rowOf(old)).used < 30;
      });
      expect((await rowOf(old)).expires).toBeLessThanOrEqual(60);
    });

    it('never shortens it', async () => {
      const long = await signUp(t);
      await age(long, { created: 40 * DAY, used: 120, expires: 3 * DAY });
      await me(long.auth).expect(200);
      expect((await usedRowOf(long)).expires).toBeGreaterThan(3 * DAY - 30);
    });

    it('does not extend it without rememberMe', async () => {
      const visitor = await signUp(t);
      await t.db.rows('DELETE FROM sessions WHERE user_id = $1', [visitor.id]);
      const answer = await t.http
        .post('/v1/auth/sign-in/email')
        .send({ email: visitor.email, password: PASSWORD, rememberMe: false })
        .expect(200);
      const cookie = (answer.headers['set-cookie'] as unknown as string[])
        .find((line) => line.includes('session_token='))!
        .split(';', 1)[0]!;
      await age(visitor, { created: 10, used: 120, expires: HOUR });
      expect(maxAgeOf(await me({ cookie }).expect(200))).toBeUndefined();
      expect((await usedRowOf(visitor)).expires).toBeLessThanOrEqual(HOUR);
    });

    it('does not restore it after its expiry', async () => {
      const late = await signUp(t);
      await age(late, { created: DAY, used: 2 * DAY, expires: -1 });
      await me(late.auth).expect(401);
      expect((await rowOf(late)).expires).toBeLessThan(0);
    });

    it('does not restore it when it ends before the use is recorded', async () => {
      const gone = await signUp(t);
      await age(gone, { created: DAY, used: 120, expires: DAY });
      await me(gone.auth).expect(200);
      await t.db.rows('UPDATE sessions SET ended_at = now() WHERE user_id = $1', [gone.id]);
      const next = await signUp(t);
      await age(next, { created: DAY, used: 120, expires: DAY });
      await me(next.auth).expect(200);
      await usedRowOf(next);
      expect((await rowOf(gone)).expires).toBeLessThanOrEqual(DAY);
      await me(gone.auth).expect(401);
    });

    it('extends it in its last second', async () => {
      const last = await signUp(t);
      await age(last, { created: DAY, used: DAY, expires: 1 });
      await me(last.auth).expect(200);
      expect((await usedRowOf(last)).expires).toBeGreaterThan(7 * DAY - 30);
    });

    it('is recorded when the process stops', async () => {
      const other = await startTestApp({}, t.db);
      const last = await signUp(t);
      await age(last, { created: DAY, used: 120, expires: DAY });
      await other.http.get('/v1/users/me').set(last.auth).expect(200);
      await other.close();
      expect((await rowOf(last)).used).toBeLessThan(30);
    });
  });

  it('waits for one statement of the guard, which only reads, and one of the handler, while a lease lasts', async () => {
    const leased = await startTestApp({ RATE_LIMIT_API: '100000/60' }, t.db);
    const sent: { name?: string; text?: string }[] = [];
    const query = PipelinedPool.prototype.query as unknown as (...all: unknown[]) => unknown;
    const spy = jest.spyOn(PipelinedPool.prototype, 'query').mockImplementation(function (this: PipelinedPool, ...all: unknown[]): never {
      const [statement] = all as [{ name?: string; text?: string }];
      // Statements of background work have no name, or run in transactions.
      if (statement.name !== undefined) sent.push(statement);
      return query.apply(this, all) as never;
    });
    try {
      for (let warm = 0; warm < 10; warm += 1) await leased.http.get('/v1/users/me').set(person.auth).expect(200);
      sent.length = 0;
      await leased.http.get('/v1/users/me').set(person.auth).expect(200);
    } finally {
      spy.mockRestore();
      await leased.close();
    }
    const ofRequest = sent.filter(({ name }) => name !== 'access_grant');
    expect(ofRequest.map(({ name }) => name)).toEqual(['access_session', 'users_by_id']);
    expect(ofRequest[0]!.text).not.toMatch(/UPDATE|INSERT|FOR (NO KEY )?UPDATE/);
  });
});

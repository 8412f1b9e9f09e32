import { once } from 'node:events';
import { type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { Keyring } from '../../src/platform/crypto/keyring.service.js';
import { BODY_CONTEXT } from '../../src/webhooks/inbox.worker.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { untilProcessed } from '../support/clerk/clerk-deliveries.js';
import {
  clerkEvent,
  CLERK_WEBHOOK_SECRET,
  deliver,
  emailData,
  invitationData,
  membershipData,
  newMessageId,
  sessionData,
  sign,
  userData,
} from '../support/clerk/clerk-events.js';
import { dumpOf } from '../support/dump.js';

const OLD_SECRET = `whsec_${Buffer.from('the secret before that one').toString('base64')}`;
const FORGED_SECRET = `whsec_${Buffer.from('a secret that somebody guessed').toString('base64')}`;

const now = () => Math.floor(Date.now() / 1000);

let counter = 0;
const newUserId = () => `user_${(counter += 1)}`;
const textOf = (event: object) => JSON.stringify(event);

interface Answer {
  status: number;
  body: Record<string, unknown>;
  headers: IncomingMessage['headers'];
}

/** Sends one request with exactly the given headers. */
async function post(url: string, body: string | Buffer, headers: OutgoingHttpHeaders, path = '/webhooks/clerk'): Promise<Answer> {
  const call = request(`${url}${path}`, { method: 'POST', headers });
  const answered = once(call, 'response') as Promise<[IncomingMessage]>;
  call.end(body);
  const [response] = await answered;
  // A server that rejects a long body closes the connection before the body is sent.
  call.on('error', () => undefined);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode!, body: JSON.parse(Buffer.concat(chunks).toString()) as Answer['body'], headers: response.headers };
}

describe('POST /webhooks/clerk', () => {
  let t: TestApp;
  beforeAll(async () => {
    // An allowance of one call an hour, which webhooks must not use.
    const secrets = `${CLERK_WEBHOOK_SECRET}, ${OLD_SECRET}`;
    t = await startTestApp({ CLERK_WEBHOOK_SIGNING_SECRET: secrets, RATE_LIMIT_API: '1/3600', RATE_LIMIT_AUTH: '1/3600' });
  });
  afterAll(() => t.close());

  const done = () => untilProcessed({ db: t.db, urls: () => [t.url] });
  const eventOf = async (messageId: string) =>
    (
      await t.db.rows<{ type: string; status: string; attempts: number; last_error: string | null; body: Buffer }>(
        'SELECT * FROM webhook_events WHERE message_id = $1',
        [messageId],
      )
    )[0];
  const userOf = async (clerkUserId: string) =>
    (
      await t.db.rows<{ name: string; username: string | null; email: string | null }>('SELECT * FROM users WHERE clerk_user_id = $1', [
        clerkUserId,
      ])
    )[0];

  /** A digest of every table that an event may change, except the inbox. */
  async function everything(): Promise<unknown> {
    const tables = ['users', 'organizations', 'organization_memberships', 'invitations', 'sessions', 'audit_log', 'outbox'];
    return t.db.rows(
      tables.map((table) => `SELECT '${table}' AS name, md5(json_agg(r ORDER BY id)::text) FROM ${table} r`).join(' UNION ALL '),
    );
  }

  const countEvents = async () => (await t.db.rows<{ count: number }>('SELECT count(*)::int FROM webhook_events'))[0]!.count;

  async function expectNothingHappened(during: () => Promise<void>): Promise<void> {
    await done();
    const before = [await everything(), await countEvents()];
    await during();
    await done();
    expect([await everything(), await countEvents()]).toEqual(before);
  }

  describe('accepts', () => {
    it.each(['svix', 'webhook'] as const)('a message signed in %s-* headers, and applies it', async (headers) => {
      const id = newMessageId();
      const clerkUserId = newUserId();
      const event = clerkEvent('user.created', userData({ id: clerkUserId, firstName: 'Ada' }));
      expect(await deliver(t.url, event, { id, headers })).toEqual({ status: 202, body: { outcome: 'stored' } });
      await done();
      expect(await eventOf(id)).toMatchObject({ type: 'user.created', status: 'processed', attempts: 1, last_error: null });
      expect(await userOf(clerkUserId)).toMatchObject({ name: 'Ada' });
      const audit = await t.db.rows('SELECT action, actor_kind, actor_id FROM audit_log WHERE request_id = $1', [id]);
      expect(audit).toEqual([{ action: 'user.created', actor_kind: 'system', actor_id: null }]);
    });

    it('both secrets during a rotation, and any of several signatures', async () => {
      const event = textOf(clerkEvent('user.created', userData({ id: newUserId() })));
      expect((await deliver(t.url, event, { secret: OLD_SECRET })).status).toBe(202);
      const signing = { id: newMessageId(), timestamp: now() };
      const [forged, old] = [sign(event, { ...signing, secret: FORGED_SECRET }), sign(event, { ...signing, secret: OLD_SECRET })];
      const both = { ...old, 'svix-signature': `v1a,nobody ${forged['svix-signature']} ${old['svix-signature']}` };
      expect((await post(t.url, event, both)).status).toBe(202);
      expect(await eventOf(signing.id)).toBeDefined();
    });

    it('a timestamp of up to five minutes ago', async () => {
      const event = clerkEvent('user.created', userData({ id: newUserId() }));
      // One second less for the transport; signature.spec.ts tests the exact limit.
      expect((await deliver(t.url, event, { timestamp: now() - 299 })).status).toBe(202);
      expect((await deliver(t.url, event, { timestamp: now() + 299 })).status).toBe(202);
    });

    it('a hundred concurrent deliveries of one message as one', async () => {
      const id = newMessageId();
      const clerkUserId = newUserId();
      const body = textOf(clerkEvent('user.created', userData({ id: clerkUserId })));
      const answers = await Promise.all(Array.from({ length: 100 }, () => deliver(t.url, body, { id })));
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 202));
      const outcomes = answers.map((answer) => answer.body['outcome']);
      expect([
        outcomes.filter((outcome) => outcome === 'stored').length,
        outcomes.filter((outcome) => outcome === 'duplicate').length,
      ]).toEqual([1, 99]);
      await done();
      expect(await t.db.rows('SELECT status, attempts FROM webhook_events WHERE message_id = $1', [id])).toEqual([
        { status: 'processed', attempts: 1 },
      ]);
      expect(await t.db.rows('SELECT id FROM users WHERE clerk_user_id = $1', [clerkUserId])).toHaveLength(1);
      expect(await t.db.rows('SELECT id FROM audit_log WHERE request_id = $1', [id])).toHaveLength(1);
    });

    it('a repeated message, even with another body, as a duplicate without effect', async () => {
      const id = newMessageId();
      const clerkUserId = newUserId();
      const event = (firstName: string) => clerkEvent('user.updated', userData({ id: clerkUserId, firstName }), { timestamp: Date.now() });
      await deliver(t.url, event('First'), { id });
      await done();
      expect(await deliver(t.url, event('Second'), { id, headers: 'webhook' })).toEqual({ status: 202, body: { outcome: 'duplicate' } });
      await done();
      expect(await userOf(clerkUserId)).toMatchObject({ name: 'First' });
      expect(await eventOf(id)).toMatchObject({ attempts: 1 });
    });

    it('any number of messages without a rate limit or its headers', async () => {
      for (let index = 0; index < 10; index += 1) {
        const body = textOf(clerkEvent('user.updated', userData({ id: newUserId() })));
        const { status, headers } = await post(t.url, body, sign(body));
        expect([status, headers['ratelimit'], headers['retry-after']]).toEqual([202, undefined, undefined]);
      }
    });

    it.each([
      'text/plain',
      'application/x-www-form-urlencoded',
      'application/json; charset=iso-8859-1',
      'multipart/form-data',
      'nonsense',
      undefined,
    ])('a body with the content type %s', async (contentType) => {
      const clerkUserId = newUserId();
      const body = textOf(clerkEvent('user.created', userData({ id: clerkUserId, firstName: 'Zoë' })));
      const headers = { ...sign(body), ...(contentType !== undefined && { 'content-type': contentType }) };
      expect((await post(t.url, body, headers)).status).toBe(202);
      await done();
      expect(await userOf(clerkUserId)).toMatchObject({ name: 'Zoë' });
    });

    it('a chunked body, a path in other case or with a trailing slash, and two signature headers', async () => {
      const clerkUserId = newUserId();
      const body = textOf(clerkEvent('user.created', userData({ id: clerkUserId })));
      const chunked = await post(t.url, body, { ...sign(body), 'transfer-encoding': 'chunked' });
      const upper = await post(t.url, body, sign(body), '/Webhooks/clerk');
      const slash = await post(t.url, body, sign(body), '/webhooks/clerk/?from=clerk');
      const signing = sign(body);
      const doubled = await post(t.url, body, { ...signing, 'svix-signature': [signing['svix-signature']!, 'v1,AAAA'] });
      expect([chunked, upper, slash, doubled].map(({ status }) => status)).toEqual([202, 202, 202, 202]);
    });

    it('exactly one mebibyte', async () => {
      const event = textOf(clerkEvent('user.updated', userData({ id: newUserId() })));
      const whole = event.padEnd(1024 * 1024);
      expect((await deliver(t.url, whole)).status).toBe(202);
      await expectNothingHappened(async () => {
        expect(await deliver(t.url, `${whole} `)).toMatchObject({ status: 413, body: { code: 'body_too_large' } });
      });
    });
  });

  describe('rejects without storing anything:', () => {
    const body = textOf(
      clerkEvent('user.created', userData({ id: 'user_refused', email: { email: 'refused@example.com', verified: true } })),
    );
    const changed = body.replace('refused@', 'accepted@');
    const signed = (signing = {}) => sign(body, signing);

    it.each<[string, number, string, () => Promise<Answer>]>([
      ['no signature', 401, 'invalid_signature', () => post(t.url, body, {})],
      ['a forged signature', 401, 'invalid_signature', () => post(t.url, body, signed({ secret: FORGED_SECRET }))],
      ['an empty signature', 401, 'invalid_signature', () => post(t.url, body, { ...signed(), 'svix-signature': '' })],
      [
        'a signature of another version',
        401,
        'invalid_signature',
        () => post(t.url, body, { ...signed(), 'svix-signature': signed()['svix-signature']!.replace('v1', 'v2') }),
      ],
      ['a message older than five minutes', 401, 'invalid_signature', () => post(t.url, body, signed({ timestamp: now() - 301 }))],
      ['a timestamp in the future', 401, 'invalid_signature', () => post(t.url, body, signed({ timestamp: now() + 302 }))],
      [
        'an old message with a new timestamp',
        401,
        'invalid_signature',
        () => post(t.url, body, { ...signed({ timestamp: now() - 4000 }), 'svix-timestamp': String(now()) }),
      ],
      ['the id of another message', 401, 'invalid_signature', () => post(t.url, body, { ...signed(), 'svix-id': newMessageId() })],
      ['an id that is too long', 401, 'invalid_signature', () => post(t.url, body, signed({ id: 'm'.repeat(256) }))],
      ['a changed body', 401, 'invalid_signature', () => post(t.url, changed, signed())],
      ['a body with an extra line', 401, 'invalid_signature', () => post(t.url, `${body}\n`, signed())],
      ['a truncated body', 401, 'invalid_signature', () => post(t.url, body.slice(0, -1), signed())],
      ['no body', 401, 'invalid_signature', () => post(t.url, '', signed())],
      ['two ids', 401, 'invalid_signature', () => post(t.url, body, { ...signed({ id: 'msg_1' }), 'svix-id': ['msg_1', 'msg_1'] })],
      [
        'two timestamps',
        401,
        'invalid_signature',
        () => post(t.url, body, { ...signed(), 'svix-timestamp': [String(now()), String(now())] }),
      ],
      [
        'an invalid header of one kind beside valid ones of the other kind',
        401,
        'invalid_signature',
        () => post(t.url, body, { ...signed({ headers: 'webhook' }), 'svix-id': 'msg_other' }),
      ],
      ['two megabytes', 413, 'body_too_large', () => post(t.url, body.padEnd(2_000_000), sign(body.padEnd(2_000_000)))],
      [
        'two megabytes without a content length',
        413,
        'body_too_large',
        () => post(t.url, body.padEnd(2_000_000), { ...sign(body.padEnd(2_000_000)), 'transfer-encoding': 'chunked' }),
      ],
      ['a compressed body', 415, 'unsupported_media_type', () => post(t.url, body, { ...signed(), 'content-encoding': 'gzip' })],
      [
        'a body in an unknown encoding',
        415,
        'unsupported_media_type',
        () => post(t.url, body, { ...signed(), 'content-encoding': 'x-none' }),
      ],
      ['an unknown provider', 404, 'route_not_found', () => post(t.url, body, signed(), '/webhooks/nobody')],
      ['a provider named like an object property', 404, 'route_not_found', () => post(t.url, body, signed(), '/webhooks/__proto__')],
      ['a provider in other case', 404, 'route_not_found', () => post(t.url, body, signed(), '/webhooks/Clerk')],
      ['a provider with NUL in it', 404, 'route_not_found', () => post(t.url, body, signed(), '/webhooks/clerk%00')],
      ['a provider that is not UTF-8', 404, 'route_not_found', () => post(t.url, body, signed(), '/webhooks/%ff')],
      ['a path below the endpoint', 404, 'route_not_found', () => post(t.url, body, signed(), '/webhooks/clerk/more')],
      ['no provider', 404, 'route_not_found', () => post(t.url, body, signed(), '/webhooks/')],
    ])('%s', async (_what, status, code, ask) => {
      await expectNothingHappened(async () => {
        const answer = await ask();
        expect([answer.status, answer.body['code']]).toEqual([status, code]);
        expect(answer.headers['content-type']).toContain('application/problem+json');
      });
    });

    it.each(['GET', 'PUT', 'DELETE'])('%s', async (method) => {
      const { status } = await fetch(`${t.url}/webhooks/clerk`, { method, headers: signed() });
      expect(status).toBe(405);
    });

    it('a body that is cut off', async () => {
      await expectNothingHappened(async () => {
        const socket = connect(Number(new URL(t.url).port), '127.0.0.1');
        const lines = Object.entries({ host: 'x', ...signed(), 'content-length': body.length }).map((header) => header.join(': '));
        socket.end(`POST /webhooks/clerk HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body.slice(0, 100)}`);
        socket.resume();
        await once(socket, 'close');
      });
      expect((await deliver(t.url, clerkEvent('user.updated', userData({ id: newUserId() })))).status).toBe(202);
    });

    it('every message without a configured secret', async () => {
      const without = await startTestApp({ CLERK_WEBHOOK_SIGNING_SECRET: '' }, t.db);
      try {
        await expectNothingHappened(async () => {
          expect(await deliver(without.url, body)).toMatchObject({ status: 404, body: { code: 'route_not_found' } });
          expect(await deliver(without.url, body, { secret: 'whsec_' })).toMatchObject({ status: 404 });
        });
      } finally {
        await without.close();
      }
    });
  });

  describe('quarantines signed messages that cannot be read:', () => {
    const event = (type: string, data: unknown) => textOf({ ...clerkEvent(type, {}), data });
    const member = membershipData({ id: 'orgmem_bad', organization: { id: 'org_bad' }, user: { id: 'user_bad' } });
    const without = (data: Record<string, unknown>, ...names: string[]) => ({
      ...data,
      ...Object.fromEntries(names.map((name) => [name, undefined])),
    });

    it.each<[string, string | Buffer, string]>([
      ['no body', '', 'The body is not JSON in UTF-8'],
      ['invalid JSON', 'type=user.created', 'The body is not JSON in UTF-8'],
      ['truncated JSON', event('user.created', {}).slice(0, -1), 'The body is not JSON in UTF-8'],
      ['invalid UTF-8', Buffer.from(event('user.created', { id: 'user_\u00ff' }), 'latin1'), 'The body is not JSON in UTF-8'],
      [
        '__proto__',
        '{"type":"user.created","data":{"id":"user_bad","__proto__":{"banned":false}}}',
        'The body has a forbidden key: __proto__',
      ],
      [
        'deep nesting',
        `{"type":"user.created","data":{"id":"user_bad","x":${'['.repeat(1000)}${']'.repeat(1000)}}}`,
        'The body is nested deeper than 64 levels',
      ],
      ['null', 'null', 'Missing or invalid: data'],
      ['an array', '[]', 'Missing or invalid: data'],
      ['no type', '{"data":{"id":"user_bad"}}', 'Missing or invalid: type'],
      ['a type that is not a string', '{"type":7}', 'Missing or invalid: type'],
      ['a type with NUL', '{"type":"user.created\\u0000"}', 'Missing or invalid: type'],
      ['a type that is too long', textOf({ type: 'u'.repeat(201) }), 'Missing or invalid: type'],
    ])('%s, on receipt', async (_what, body, error) => {
      const id = newMessageId();
      const before = await everything();
      expect(await deliver(t.url, body, { id })).toEqual({ status: 202, body: { outcome: 'stored' } });
      expect(await eventOf(id)).toMatchObject({ type: '', status: 'quarantined', attempts: 0, last_error: error });
      expect(await deliver(t.url, body, { id })).toEqual({ status: 202, body: { outcome: 'duplicate' } });
      expect(await everything()).toEqual(before);
    });

    it.each<[string, string, unknown, string]>([
      ['a user without data', 'user.created', undefined, 'data'],
      ['a user with a string as data', 'user.created', 'user_bad', 'data'],
      ['a user without an id', 'user.updated', without(userData({ id: 'user_bad' }), 'id'), 'id'],
      ['a user whose id is a number', 'user.updated', { ...userData({ id: 'user_bad' }), id: 7 }, 'id'],
      ['a user whose id is empty', 'user.updated', userData({ id: '' }), 'id'],
      ['a user with an id that is too long', 'user.updated', userData({ id: 'u'.repeat(256) }), 'id'],
      ['a user with NUL in the id', 'user.updated', userData({ id: 'user\0' }), 'id'],
      ['a user with a lone surrogate in the id', 'user.updated', userData({ id: 'user\ud800' }), 'id'],
      ['a deletion without a user id', 'user.deleted', { object: 'user', deleted: true }, 'id'],
      ['a deletion without an organization id', 'organization.deleted', { object: 'organization', deleted: true, id: null }, 'id'],
      ['a membership without a user', 'organizationMembership.created', without(member, 'public_user_data'), 'public_user_data'],
      ['a membership without an organization', 'organizationMembership.deleted', without(member, 'organization'), 'organization'],
      [
        'an invitation without an address',
        'organizationInvitation.created',
        without(invitationData({ id: 'orginv_bad', organizationId: 'org_bad', email: 'x@example.com' }), 'email_address'),
        'email_address',
      ],
      ['a session without a user', 'session.created', without(sessionData({ id: 'sess_bad', userId: 'user_bad' }), 'user_id'), 'user_id'],
    ])('%s, when it is processed', async (_what, type, data, field) => {
      const id = newMessageId();
      const before = await everything();
      expect(await deliver(t.url, event(type, data), { id })).toEqual({ status: 202, body: { outcome: 'stored' } });
      await done();
      const error = `Missing or invalid: ${field}`;
      expect(await eventOf(id)).toMatchObject({ type, status: 'quarantined', attempts: 1, last_error: error });
      expect(await everything()).toEqual(before);
    });
  });

  describe('tolerates', () => {
    it('names with NUL, lone surrogates and great length, and invalid addresses and times', async () => {
      const id = newMessageId();
      const clerkUserId = newUserId();
      const data = {
        ...userData({
          id: clerkUserId,
          firstName: 'A\0da\ud800',
          lastName: '😀'.repeat(200_000),
          username: '\0',
          imageUrl: 'x'.repeat(5000),
        }),
        email_addresses: [{ id: 'idn_1', email_address: `${'x'.repeat(400)}@example.com`, verification: { status: 'verified' } }, null, 7],
        primary_email_address_id: 'idn_1',
        banned: 'perhaps',
        created_at: 'yesterday',
        updated_at: 1e300,
      };
      await deliver(t.url, textOf({ ...clerkEvent('user.created', data), timestamp: -5, instance_id: 7, event_attributes: [] }), { id });
      await done();
      expect(await eventOf(id)).toMatchObject({ status: 'processed', last_error: null });
      const user = await userOf(clerkUserId);
      expect(user).toMatchObject({ username: null, email: null });
      // Lone surrogates are removed like other invisible characters; the limit counts characters.
      expect(user!.name).toMatch(/^Ada (?:😀)+$/u);
      expect(Array.from(user!.name).length).toBeLessThanOrEqual(500);
    });

    it('event types that are irrelevant or unknown', async () => {
      const before = await everything();
      for (const type of [
        'user.married',
        'waitlistEntry.created',
        'session.pending',
        'x'.repeat(200),
        'constructor',
        'subscription.active',
      ]) {
        const id = newMessageId();
        expect((await deliver(t.url, clerkEvent(type, { id: 'user_unknown' }), { id })).status).toBe(202);
        await done();
        expect(await eventOf(id)).toMatchObject({ type, status: 'ignored', attempts: 1 });
      }
      expect(await everything()).toEqual(before);
    });
  });

  it('removes codes in mails and text messages before storing an event', async () => {
    const code = 'code-91827364-xyz';
    const [email, sms] = [newMessageId(), newMessageId()];
    await deliver(t.url, clerkEvent('email.created', emailData({ id: 'ema_1', code, to: 'reader-of-codes@example.com' })), { id: email });
    await deliver(t.url, clerkEvent('sms.created', { object: 'sms_message', id: 'sms_1', message: code, data: { otp_code: code } }), {
      id: sms,
    });
    await done();
    for (const id of [email, sms]) {
      const stored = await eventOf(id);
      expect(stored).toMatchObject({ status: 'ignored', attempts: 0 });
      const { type, timestamp, ...rest } = JSON.parse(t.app.get(Keyring).decryptBytes(stored!.body, BODY_CONTEXT).toString()) as Record<
        string,
        unknown
      >;
      expect([type, timestamp]).toEqual([stored!.type, expect.any(Number)]);
      expect(rest).toEqual({ object: 'event', instance_id: 'ins_test', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    }
    const dump = await dumpOf(t.db);
    for (const secret of [code, 'reader-of-codes']) {
      for (const form of [secret, Buffer.from(secret).toString('base64').slice(0, -4), Buffer.from(secret).toString('hex')]) {
        expect(dump).not.toContain(form);
      }
    }
  });

  it('stores bodies encrypted, so that a database dump does not reveal them', async () => {
    const body = textOf(clerkEvent('waitlistEntry.created', { id: 'wle_1', email_address: 'waiting-in-secret@example.com' }));
    await deliver(t.url, body);
    await done();
    const dump = await dumpOf(t.db);
    expect(dump).not.toContain('waiting-in-secret');
    expect(dump).not.toContain(Buffer.from('waiting-in-secret').toString('hex'));
  });
});

import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { v7 } from 'uuid';
import { Keyring } from '../../src/platform/crypto/keyring.service.js';
import { loadConfig } from '../../src/platform/config/config.js';
import { BODY_CONTEXT } from '../../src/webhooks/inbox.worker.js';
import { WebhooksService } from '../../src/webhooks/webhooks.service.js';
import { startTestApp, testEnvironment } from '../support/app.js';
import { ClerkApp, newAddress, newClerkId } from '../support/clerk/clerk-app.js';
import { untilProcessed } from '../support/clerk/clerk-deliveries.js';
import { type ClerkEvent, deletedData, deliver, emailData, invitationData, newMessageId, userData } from '../support/clerk/clerk-events.js';
import { type SignedInPerson, signUp } from '../support/people.js';
import { allPages, runJob } from '../support/tenants.js';
import { skipJob } from '../support/tenant-world.js';
import { until } from '../support/until.js';

interface EventView {
  id: string;
  provider: string;
  messageId: string;
  type: string;
  status: string;
  attempts: number;
  eventAt: string | null;
  receivedAt: string;
  processedAt: string | null;
  nextAttemptAt: string | null;
  lastError: string | null;
  payload?: { type: string; data: Record<string, unknown> } | null;
}

const PATH = '/v1/webhook-events';
/** The reception time of events that tests insert, so that lists contain no others. */
const LONG_AGO = Date.UTC(2020, 0);

describe('webhook events for operators', () => {
  let clerk: ClerkApp;
  let operator: SignedInPerson;
  beforeAll(async () => {
    clerk = await ClerkApp.start({ WEBHOOK_BODY_DAYS: '30' });
    operator = clerk.operator;
    // The tests run these jobs themselves.
    await skipJob(clerk.t.db, 'watch_webhooks', 60);
    await skipJob(clerk.t.db, 'forget_webhook_bodies', 3600);
  });
  afterAll(() => clerk.close());

  const get = (path: string) => clerk.t.http.get(path).set(operator.auth);
  const post = (path: string, body?: object) => clerk.t.http.post(path).set(operator.auth).send(body);
  const done = ({ mayFail = false } = {}) => untilProcessed({ db: clerk.t.db, urls: () => [clerk.t.url], mayFail });

  async function eventOf(messageId: string): Promise<EventView> {
    const [{ id }] = (await clerk.t.db.rows('SELECT id FROM webhook_events WHERE message_id = $1', [messageId])) as [{ id: string }];
    return (await get(`${PATH}/${id}`).expect(200)).body as EventView;
  }

  /** Delivers an event without waiting until it is processed. */
  async function send(event: ClerkEvent): Promise<string> {
    const id = newMessageId();
    expect((await deliver(clerk.t.url, event, { id })).status).toBe(202);
    return id;
  }

  const entriesOf = (requestId: string) =>
    clerk.t.db.rows('SELECT action, actor_id, target_type, target_id, changes FROM audit_log WHERE request_id = $1', [requestId]);

  describe('in the list', () => {
    /** Inserts events in 2020, one per second. */
    async function insertEvents(
      count: number,
      given: Partial<Record<'provider' | 'type' | 'status', string>> = {},
      from = LONG_AGO,
    ): Promise<string[]> {
      const rows = Array.from({ length: count }, (_, index) => ({
        id: v7(),
        provider: 'clerk',
        message_id: newMessageId(),
        type: 'user.updated',
        status: 'processed',
        received_at: new Date(from + index * 1000),
        ...given,
      }));
      await clerk.t.db.rows(
        `INSERT INTO webhook_events (id, provider, message_id, type, status, received_at)
         SELECT * FROM jsonb_to_recordset($1) AS r (id uuid, provider text, message_id text, type text, status webhook_event_status, received_at timestamptz)`,
        [JSON.stringify(rows)],
      );
      return rows.map(({ id }) => id);
    }

    it('are returned newest first, page by page', async () => {
      const ids = await insertEvents(25, { type: 'page.test' });
      const all = await allPages<EventView>(clerk.t, operator, `${PATH}?type=page.test`, 7);
      expect(all.map(({ id }) => id)).toEqual(ids.toReversed());
      const { body } = await get(`${PATH}?type=page.test&limit=1`).expect(200);
      expect(Object.keys(body.data[0])).toEqual([
        'id',
        'provider',
        'messageId',
        'type',
        'status',
        'attempts',
        'eventAt',
        'receivedAt',
        'processedAt',
        'nextAttemptAt',
        'lastError',
      ]);
    });

    it('are filtered by provider, type, status and time together', async () => {
      const from = Date.UTC(2021, 0);
      const at = (second: number) => new Date(from + second * 1000).toISOString();
      const [dead] = await insertEvents(1, { type: 'filter.dead', status: 'dead' }, from);
      const [other] = await insertEvents(1, { type: 'filter.dead', status: 'dead', provider: 'polar' }, from + 1000);
      const [ignored] = await insertEvents(1, { type: 'filter.ignored', status: 'ignored' }, from + 2000);
      const range = `receivedFrom=${at(0)}&receivedBefore=${at(3)}`;
      const found = async (query: string) => {
        const { body } = await get(`${PATH}?${query}`).expect(200);
        return (body.data as EventView[]).map(({ id }) => id);
      };
      expect(await found(range)).toEqual([ignored, other, dead]);
      expect(await found(`${range}&provider=polar`)).toEqual([other]);
      expect(await found(`${range}&type=filter.dead`)).toEqual([other, dead]);
      expect(await found(`${range}&status=ignored`)).toEqual([ignored]);
      expect(await found(`${range}&status=dead&provider=clerk&type=filter.dead`)).toEqual([dead]);
      expect(await found(`receivedFrom=${at(1)}&receivedBefore=${at(2)}`)).toEqual([other]);
      expect(await found(`${range}&status=quarantined`)).toEqual([]);
    });

    it.each([
      'status=lost',
      'receivedFrom=yesterday',
      'receivedBefore=7',
      'limit=0',
      `type=${'x'.repeat(201)}`,
      `provider=${'x'.repeat(51)}`,
      'cursor=made.up',
      'surprise=1',
    ])('reject ?%s', async (query) => {
      const { body } = await get(`${PATH}?${query}`).expect(400);
      expect(body.code).toBe(query.startsWith('cursor') ? 'invalid_cursor' : 'invalid_request');
    });

    it('reject the cursor of another filter', async () => {
      await insertEvents(3, { type: 'cursor.test' });
      const { body } = await get(`${PATH}?type=cursor.test&limit=1`).expect(200);
      await get(`${PATH}?type=other&limit=1&cursor=${encodeURIComponent(body.nextCursor)}`).expect(400);
    });
  });

  describe('when read', () => {
    it('contain the payload without secrets that could be used to sign in', async () => {
      const invitation = { id: newClerkId('orginv'), organizationId: newClerkId('org'), email: newAddress() };
      const event = clerk.event('organizationInvitation.created', {
        ...invitationData(invitation),
        private_metadata: { key: 'hidden-key' },
      });
      const view = await eventOf(await clerk.deliver(event));
      expect(view).toMatchObject({
        provider: 'clerk',
        type: 'organizationInvitation.created',
        status: 'processed',
        attempts: 1,
        eventAt: new Date(event.timestamp).toISOString(),
        processedAt: expect.any(String),
        nextAttemptAt: null,
        lastError: null,
      });
      expect(view.payload!.data).toMatchObject({ email_address: invitation.email, url: '[masked]', private_metadata: '[masked]' });
      expect(JSON.stringify(view)).not.toMatch(/ticket=|hidden-key/);
    });

    it('contain only a hash of a mail with a code', async () => {
      const view = await eventOf(await send(clerk.event('email.created', emailData({ id: 'ema_1', code: '7421093' }))));
      expect(view).toMatchObject({ type: 'email.created', status: 'ignored', attempts: 0 });
      expect(Object.keys(view.payload!)).toEqual(['object', 'type', 'timestamp', 'instance_id', 'sha256']);
      expect(JSON.stringify(view)).not.toContain('7421093');
    });

    it('are not found under an unknown id', async () => {
      for (const answer of [await get(`${PATH}/${v7()}`), await post(`${PATH}/${v7()}/replay`)]) {
        expect([answer.status, answer.body.code]).toEqual([404, 'webhook_event_not_found']);
      }
      for (const answer of [await get(`${PATH}/nonsense`), await post(`${PATH}/nonsense/replay`)]) expect(answer.status).toBe(400);
    });

    it('are visible to operators only', async () => {
      const person = await signUp(clerk.t);
      const { id } = await eventOf(await clerk.emit('user.created', userData({ id: newClerkId('user') })));
      for (const call of [
        clerk.t.http.get(PATH),
        clerk.t.http.get(`${PATH}/${id}`),
        clerk.t.http.post(`${PATH}/${id}/replay`),
        clerk.t.http.post(`${PATH}/replay`).send({ status: 'dead' }),
      ]) {
        expect((await call.set(person.auth)).body.code).toBe('operator_only');
      }
    });
  });

  describe('when replayed', () => {
    it('singly are applied again, without overwriting newer data', async () => {
      const user = newClerkId('user');
      const message = await clerk.emit('user.created', userData({ id: user, firstName: 'First' }));
      await clerk.emit('user.updated', userData({ id: user, firstName: 'Second' }));
      const { id } = await eventOf(message);
      const requestId = v7();
      const { body } = await post(`${PATH}/${id}/replay`).set('x-request-id', requestId).expect(202);
      expect(body).toMatchObject({ id, status: 'pending', attempts: 0, nextAttemptAt: expect.any(String), processedAt: null });
      await done();
      expect(await eventOf(message)).toMatchObject({ status: 'processed', attempts: 1 });
      expect(await clerk.user(user)).toMatchObject({ name: 'Second' });
      expect(await entriesOf(requestId)).toEqual([
        {
          action: 'webhook_event.replayed',
          actor_id: operator.id,
          target_type: 'webhook_event',
          target_id: id,
          changes: { status: { before: 'processed', after: 'pending' } },
        },
      ]);
      expect(await clerk.t.db.rows('SELECT 1 FROM audit_log WHERE request_id = $1', [message])).toHaveLength(1);
    });

    it('restore lost rows', async () => {
      const user = newClerkId('user');
      const message = await clerk.emit('user.created', userData({ id: user, firstName: 'Lost' }));
      await clerk.t.db.rows('DELETE FROM users WHERE clerk_user_id = $1', [user]);
      await post(`${PATH}/${(await eventOf(message)).id}/replay`).expect(202);
      await done();
      expect(await clerk.user(user)).toMatchObject({ name: 'Lost' });
    });

    it('by a filter include exactly the matching events', async () => {
      const messages = await Promise.all(
        ['user.created', 'user.created', 'user.deleted'].map((type) =>
          send(clerk.event(type, type === 'user.deleted' ? deletedData('user', newClerkId('user')) : userData({ id: newClerkId('user') }))),
        ),
      );
      await done();
      const at = Date.UTC(2022, 0);
      await clerk.t.db.rows('UPDATE webhook_events SET received_at = $2, attempts = 5 WHERE message_id = ANY ($1)', [
        messages,
        new Date(at),
      ]);
      const filter = { type: 'user.created', status: 'processed', receivedFrom: new Date(at), receivedBefore: new Date(at + 1) };
      const requestId = v7();
      const { body } = await post(`${PATH}/replay`, filter).set('x-request-id', requestId).expect(202);
      expect(body).toEqual({ replayed: 2 });
      await done();
      expect(await Promise.all(messages.map(async (message) => (await eventOf(message)).attempts))).toEqual([1, 1, 5]);
      expect(await entriesOf(requestId)).toMatchObject([{ action: 'webhook_event.replayed', actor_id: operator.id, target_id: 'many' }]);
      expect((await post(`${PATH}/replay`, { ...filter, provider: 'polar' }).expect(202)).body).toEqual({ replayed: 0 });
    });

    it('by a filter include only events that were received before the request', async () => {
      const [before, since] = await Promise.all(
        [newClerkId('user'), newClerkId('user')].map((id) => clerk.emit('user.created', userData({ id }))),
      );
      // Two events of an own type; the second counts as received during the replay.
      await clerk.t.db.rows(
        `UPDATE webhook_events SET type = 'user.lately', attempts = 5,
                received_at = CASE message_id WHEN $1 THEN received_at ELSE now() + interval '1 minute' END WHERE message_id IN ($1, $2)`,
        [before, since],
      );
      expect((await post(`${PATH}/replay`, { type: 'user.lately', status: 'processed' }).expect(202)).body).toEqual({ replayed: 1 });
      await done();
      expect([(await eventOf(before!)).attempts, (await eventOf(since!)).attempts]).toEqual([1, 5]);
    });

    it.each([
      {},
      { status: 'lost' },
      { status: 'dead', receivedFrom: 'yesterday' },
      { status: 'dead', surprise: 1 },
      { type: 'user.created' },
    ])('reject the filter %j', async (filter) => {
      expect((await post(`${PATH}/replay`, filter).expect(400)).body.code).toBe('invalid_request');
    });
  });

  describe('that cannot be read', () => {
    it('are quarantined, shown without a payload, and quarantined again by a replay', async () => {
      const id = newMessageId();
      expect((await deliver(clerk.t.url, '{"type":"user.created"', { id })).status).toBe(202);
      const view = await eventOf(id);
      expect(view).toMatchObject({
        type: '',
        status: 'quarantined',
        eventAt: null,
        payload: null,
        lastError: 'The body is not JSON in UTF-8',
      });
      await post(`${PATH}/${view.id}/replay`).expect(202);
      await done();
      expect(await eventOf(id)).toMatchObject({ status: 'quarantined', attempts: 1, lastError: 'The body is not JSON in UTF-8' });
    });

    it('are processed by a replay when they can be read', async () => {
      const user = newClerkId('user');
      const message = await clerk.emit('user.created', { ...userData({ id: user, firstName: 'Mended' }), id: null });
      const { id } = await eventOf(message);
      expect((await eventOf(message)).status).toBe('quarantined');
      // Simulates a release that can read them.
      const repaired = JSON.stringify(clerk.event('user.created', userData({ id: user, firstName: 'Mended' })));
      const body = clerk.t.app.get(Keyring).encryptBytes(Buffer.from(repaired), BODY_CONTEXT);
      await clerk.t.db.rows(`UPDATE webhook_events SET body = $2, type = '', event_at = NULL WHERE id = $1`, [id, body]);
      await post(`${PATH}/${id}/replay`).expect(202);
      await done();
      expect(await eventOf(message)).toMatchObject({ status: 'processed', lastError: null });
      expect(await clerk.user(user)).toMatchObject({ name: 'Mended' });
    });
  });

  describe('that always fail', () => {
    it('block no others, become dead with a log entry and a metric, and are processed by a replay after the repair', async () => {
      const [user, other] = [newClerkId('user'), newClerkId('user')];
      await clerk.t.db.rows(`
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken for a test'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON users FOR EACH ROW WHEN (NEW.clerk_user_id = '${user}') EXECUTE FUNCTION refuse();
        CREATE TABLE failures (attempts int, seconds float8);
        CREATE FUNCTION note_failure() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN INSERT INTO failures VALUES (NEW.attempts, extract(epoch FROM NEW.next_attempt_at - now())); RETURN NULL; END $$;
        CREATE TRIGGER note_failure AFTER UPDATE OF last_error ON webhook_events FOR EACH ROW
          WHEN (NEW.last_error IS NOT NULL AND NEW.status = 'pending') EXECUTE FUNCTION note_failure()`);
      const logged: unknown[] = [];
      const spies = (['warn', 'error'] as const).map((level) =>
        jest.spyOn(Logger.prototype, level).mockImplementation((...all: unknown[]) => void logged.push(all)),
      );
      const email = newAddress();
      const message = await send(clerk.event('user.created', userData({ id: user, email: { email, verified: true } })));
      await until(async () => (await eventOf(message)).lastError !== null);
      expect(await eventOf(message)).toMatchObject({
        status: 'pending',
        lastError: 'broken for a test',
        nextAttemptAt: expect.any(String),
      });

      // The next event does not wait for it.
      const next = await send(clerk.event('user.created', userData({ id: other })));
      await until(async () => (await eventOf(next)).status === 'processed');

      // The delay doubles from half a second to an hour.
      await clerk.t.db.rows('UPDATE webhook_events SET attempts = 20, next_attempt_at = now() WHERE message_id = $1', [message]);
      const delays = await until(async () => {
        const all = await clerk.t.db.rows<{ attempts: number; seconds: number }>(
          'SELECT attempts, seconds FROM failures ORDER BY attempts',
        );
        return all.at(-1)?.attempts === 21 && all;
      });
      expect(delays[0]!.attempts).toBe(1);
      for (const { attempts, seconds } of delays) {
        const delay = Math.min(0.5 * 2 ** (attempts - 1), 3600);
        expect(seconds).toBeGreaterThanOrEqual(0.87 * delay);
        expect(seconds).toBeLessThanOrEqual(1.13 * delay);
      }

      await clerk.t.db.rows('UPDATE webhook_events SET attempts = 29, next_attempt_at = now() WHERE message_id = $1', [message]);
      await until(async () => (await eventOf(message)).status === 'dead');
      for (const spy of spies) spy.mockRestore();
      expect(await eventOf(message)).toMatchObject({
        attempts: 30,
        nextAttemptAt: null,
        processedAt: null,
        lastError: 'broken for a test',
      });
      expect(JSON.stringify(logged)).toContain('A webhook event failed its last attempt and is dead');
      const { body } = await get(`${PATH}?status=dead&type=user.created`).expect(200);
      expect((body.data as EventView[]).map(({ messageId }) => messageId)).toContain(message);
      const { text } = await clerk.t.http.get('/metrics').expect(200);
      expect(text).toMatch(/tenantry_webhook_events_dead\{provider="clerk",type="user.created"\} 1\n/);
      expect(text).toMatch(/tenantry_webhook_attempts_total\{provider="clerk",type="user.created",outcome="dead"\} 1\n/);
      expect(text).toMatch(/tenantry_webhook_attempts_total\{provider="clerk",type="user.created",outcome="failed"\} [1-9]/);

      await clerk.t.db.rows('DROP TRIGGER refuse ON users; DROP FUNCTION refuse(); DROP TRIGGER note_failure ON webhook_events');
      expect((await post(`${PATH}/replay`, { status: 'dead', type: 'user.created' }).expect(202)).body).toEqual({ replayed: 1 });
      await done();
      expect(await eventOf(message)).toMatchObject({ status: 'processed', attempts: 1, lastError: null });
      expect(await clerk.user(user)).toMatchObject({ email });
    });

    it('leave no partial changes', async () => {
      const user = newClerkId('user');
      await clerk.t.db.rows(`
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no entry today'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON audit_log FOR EACH ROW WHEN (NEW.actor_kind = 'system') EXECUTE FUNCTION refuse()`);
      const message = await send(clerk.event('user.created', userData({ id: user })));
      await until(async () => (await eventOf(message)).lastError !== null);
      expect(await clerk.user(user)).toBeUndefined();
      await clerk.t.db.rows('DROP TRIGGER refuse ON audit_log; DROP FUNCTION refuse()');
      await done({ mayFail: true });
      expect(await clerk.user(user)).toBeDefined();
      expect(await clerk.t.db.rows('SELECT 1 FROM audit_log WHERE request_id = $1', [message])).toHaveLength(1);
    });
  });

  describe('in the metrics', () => {
    it('are counted by provider and type, and unknown types are counted as one', async () => {
      const valueOf = (text: string, metric: string) =>
        Number(new RegExp(`^${metric.replaceAll(/[{}]/g, '\\$&')} (.+)$`, 'm').exec(text)?.[1] ?? 0);
      const metrics = [
        'tenantry_webhooks_received_total{provider="clerk",type="user.created",outcome="stored"}',
        'tenantry_webhooks_received_total{provider="clerk",type="user.created",outcome="duplicate"}',
        'tenantry_webhooks_received_total{provider="clerk",type="other",outcome="stored"}',
        'tenantry_webhooks_received_total{provider="clerk",type="",outcome="refused"}',
        'tenantry_webhook_attempts_total{provider="clerk",type="user.created",outcome="processed"}',
        'tenantry_webhook_attempts_total{provider="clerk",type="other",outcome="ignored"}',
        'tenantry_webhook_effect_seconds_count{provider="clerk"}',
      ];
      const read = async () => {
        const { text } = await clerk.t.http.get('/metrics').expect(200);
        return metrics.map((metric) => valueOf(text, metric));
      };
      const before = await read();
      const id = newMessageId();
      const event = clerk.event('user.created', userData({ id: newClerkId('user') }));
      await deliver(clerk.t.url, event, { id });
      await deliver(clerk.t.url, event, { id });
      await deliver(clerk.t.url, event, { secret: `whsec_${Buffer.alloc(24).toString('base64')}` });
      for (const type of ['made.up', 'made"up\n', 'toString']) await deliver(clerk.t.url, clerk.event(type, {}));
      await done();
      const after = await read();
      expect(after.map((value, index) => value - before[index]!)).toEqual([1, 1, 3, 1, 1, 3, 4]);
    });

    it('are counted while they wait, and reported in the log after a minute', async () => {
      const message = newMessageId();
      const insert = `INSERT INTO webhook_events (id, provider, message_id, type, body, status, attempts, next_attempt_at, leased_until)
        VALUES ($1, 'clerk', $2, 'user.created', 'x', 'pending', 1, now() - $3 * interval '1 second', now() + interval '1 hour')`;
      const errors = jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
      try {
        await clerk.t.db.rows(insert, [v7(), message, 50]);
        await runJob(clerk.t, operator, 'watch_webhooks');
        expect(errors).not.toHaveBeenCalled();
        await clerk.t.db.rows(`UPDATE webhook_events SET next_attempt_at = now() - interval '70 seconds' WHERE message_id = $1`, [message]);
        await runJob(clerk.t, operator, 'watch_webhooks');
        expect(errors).toHaveBeenCalledTimes(1);
        const [details, logged] = errors.mock.calls[0]!;
        expect(logged).toMatch(/^Webhook events are late: the oldest has been due for 7\d seconds$/);
        expect(details).toEqual({ lagSeconds: expect.any(Number), pending: 1 });
        const { text } = await clerk.t.http.get('/metrics').expect(200);
        expect(text).toMatch(/tenantry_webhook_events_pending\{provider="clerk",type="user.created"\} 1\n/);
        expect(text).toMatch(/tenantry_webhook_lag_seconds\{provider="clerk",type="user.created"\} 7\d/);
      } finally {
        errors.mockRestore();
        await clerk.t.db.rows('DELETE FROM webhook_events WHERE message_id = $1', [message]);
      }
    });
  });

  it('lose their bodies after the retention time, and cannot be replayed then', async () => {
    const deliverOld = async (days: number, status: string) => {
      const message = await clerk.emit('user.created', userData({ id: newClerkId('user') }));
      const text = `UPDATE webhook_events SET received_at = now() - $2 * interval '1 day', status = $3 WHERE message_id = $1`;
      await clerk.t.db.rows(text, [message, days, status]);
      return message;
    };
    const [old, ignored, young, dead, quarantined] = [
      await deliverOld(31, 'processed'),
      await deliverOld(31, 'ignored'),
      await deliverOld(29, 'processed'),
      await deliverOld(31, 'dead'),
      await deliverOld(31, 'quarantined'),
    ];
    await runJob(clerk.t, operator, 'forget_webhook_bodies');
    const views = await Promise.all([old, ignored, young, dead, quarantined].map(eventOf));
    expect(views.map(({ payload }) => payload === null)).toEqual([true, true, false, false, false]);
    expect(views[0]).toMatchObject({ type: 'user.created', status: 'processed', messageId: old });
    const answer = await post(`${PATH}/${views[0]!.id}/replay`);
    expect([answer.status, answer.body.code]).toEqual([409, 'webhook_body_gone']);
    await post(`${PATH}/${views[2]!.id}/replay`).expect(202);
    const month = { receivedFrom: new Date(Date.now() - 32 * 86_400_000), receivedBefore: new Date(Date.now() - 30 * 86_400_000) };
    expect((await post(`${PATH}/replay`, { ...month, status: 'processed' }).expect(202)).body).toEqual({ replayed: 0 });
    // The message id is kept forever, so a repeated message is a duplicate.
    const again = await deliver(clerk.t.url, clerk.event('user.created', userData({ id: newClerkId('user') })), { id: old });
    expect(again.body).toEqual({ outcome: 'duplicate' });
    await done();
  });

  it('are readable with the newest key alone after a key rotation', async () => {
    const message = await clerk.emit('user.created', userData({ id: newClerkId('user'), firstName: 'Rotated' }));
    const key = (id: string, byte: number) => `${id}:${Buffer.alloc(32, byte).toString('base64')}`;
    const old = testEnvironment(clerk.t.db.url)['ENCRYPTION_KEYS']!;
    const withKeys = (keys: string) => new Keyring(loadConfig({ ...testEnvironment(clerk.t.db.url), ENCRYPTION_KEYS: keys }));
    const bodies = () =>
      clerk.t.db.rows<{ body: Buffer }>('SELECT body FROM webhook_events WHERE body IS NOT NULL AND message_id = $1', [message]);

    const rotating = await startTestApp({ ENCRYPTION_KEYS: `${key('new', 1)},${old}` }, clerk.t.db);
    const count = await rotating.app.get(WebhooksService).renewEncryption();
    await rotating.close();
    expect(count).toBeGreaterThan(1);
    const [{ body }] = (await bodies()) as [{ body: Buffer }];
    expect(withKeys(key('new', 1)).decryptBytes(body, BODY_CONTEXT).toString()).toContain('Rotated');
    expect(() => withKeys(old).decryptBytes(body, BODY_CONTEXT)).toThrow('ENCRYPTION_KEYS has no key "new"');
    const left = `SELECT 1 FROM webhook_events WHERE body IS NOT NULL AND substring(body FROM 1 FOR 4) <> 'new.'`;
    expect(await clerk.t.db.rows(left)).toEqual([]);
  });
});

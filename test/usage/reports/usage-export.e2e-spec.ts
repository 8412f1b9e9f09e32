import { once } from 'node:events';
import { get, type IncomingMessage, type ServerResponse } from 'node:http';
import { jest } from '@jest/globals';
import pg from 'pg';
import { startTestApp, type TestApp } from '../../support/app.js';
import { createPerson, createTenant, type Person } from '../../support/tenant-world.js';
import { createPartitions, insertUsage } from '../../support/usage/usage-rows.js';

const HEADER =
  'eventId,occurredAt,model,userId,inputTokens,outputTokens,cachedInputTokens,reasoningTokens,tokens,overrun,holdId,metadata,createdAt';
const PAGE = 1000;

describe('the CSV export of usage', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
    await createPartitions(t.db, ['2026-01-01']);
  });
  afterAll(() => t.close());

  /** Inserts rows of about 1.2 kB, more than the sockets can buffer. */
  async function insertMany({ id }: Person, count: number): Promise<void> {
    await t.db.rows(
      `INSERT INTO usage (owner_id, owner_kind, event_id, occurred_at, model, tokens_used, period_start, metadata)
       SELECT $1, 'user', 'event-' || n, '2026-01-01Z'::timestamptz + n * interval '1 second', 'm', n, '2026-01-01Z', jsonb_build_object('note', repeat('x', 1000))
         FROM generate_series(1, $2::int) n`,
      [id, count],
    );
  }

  /** The response with an unread body. */
  async function open({ auth }: Person): Promise<IncomingMessage> {
    const request = get(`${t.url}/v1/usage/export.csv`, { headers: auth, agent: false });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return response.pause();
  }

  const readAll = async (response: IncomingMessage): Promise<string> => {
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  };

  /** Counts the pages that are read from the database during some work. */
  async function pagesReadDuring(work: (pages: () => number) => Promise<void>): Promise<void> {
    let pages = 0;
    const query = pg.Client.prototype.query as unknown as (...all: unknown[]) => unknown;
    const spy = jest.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...all: unknown[]): unknown {
      const [statement] = all as [{ text?: string } | string];
      if (typeof statement === 'object' && /from "usage" /.test(statement.text ?? '')) pages += 1;
      return query.apply(this, all);
    });
    try {
      await work(() => pages);
    } finally {
      spy.mockRestore();
    }
  }

  it('has a line for each record, newest first, as an attachment', async () => {
    const { organization, admin, member } = await createTenant(t.db);
    const [event] = await insertUsage(t.db, { kind: 'organization', id: organization.id }, [
      {
        occurredAt: '2026-01-01T10:00:00.5Z',
        eventId: 'a, "b"\n=c',
        model: '=HYPERLINK("http://evil.example")',
        actorUserId: member.id,
        inputTokens: 1,
        outputTokens: 2,
        cachedInputTokens: 3,
        reasoningTokens: 4,
        overrun: 5,
        metadata: { note: '=1' },
      },
      { occurredAt: '2026-01-02T10:00:00Z', eventId: '-1', model: 'm', tokensUsed: 2 ** 53 - 1 },
    ]);
    const answer = await t.http
      .get(`/v1/organizations/${organization.id}/usage/export.csv`)
      .query({ to: '2026-02-01' })
      .set(admin.auth)
      .expect(200);
    expect(answer.headers['content-type']).toBe('text/csv; charset=utf-8; header=present');
    expect(answer.headers['content-disposition']).toBe('attachment; filename="usage.csv"');
    const [{ created_at: createdAt }] = (await t.db.rows('SELECT created_at FROM usage WHERE event_id = $1', [event!.eventId])) as [
      { created_at: Date },
    ];
    const recorded = createdAt.toISOString();
    expect(answer.text.split('\r\n')).toEqual([
      HEADER,
      expect.stringMatching(/^'-1,2026-01-02T10:00:00\.000Z,m,,0,0,0,0,9007199254740991,0,,,/),
      `"a, ""b""\n=c",2026-01-01T10:00:00.500Z,"'=HYPERLINK(""http://evil.example"")",${member.id},1,2,3,4,10,5,,"{""note"":""=1""}",${recorded}`,
      '',
    ]);
  });

  it('starts with a byte order mark on request', async () => {
    const person = await createPerson(t.db);
    const bytes = async (query: string) => {
      const answer = await fetch(`${t.url}/v1/usage/export.csv${query}`, { headers: person.auth });
      expect(answer.status).toBe(200);
      return Buffer.from(await answer.arrayBuffer());
    };
    const plain = await bytes('');
    expect(plain.toString()).toBe(`${HEADER}\r\n`);
    expect(await bytes('?bom=true')).toEqual(Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), plain]));
    expect(await bytes('?bom=false')).toEqual(plain);
    await t.http.get('/v1/usage/export.csv?bom=1').set(person.auth).expect(400);
  });

  it('accepts the filters of the list', async () => {
    const { organization, admin, member } = await createTenant(t.db);
    await insertUsage(t.db, { kind: 'organization', id: organization.id }, [
      { occurredAt: '2026-01-01T00:00:00Z', eventId: '1', model: 'x', actorUserId: admin.id },
      { occurredAt: '2026-01-02T00:00:00Z', eventId: '2', model: 'x', actorUserId: member.id },
      { occurredAt: '2026-01-03T00:00:00Z', eventId: '3', model: 'y', actorUserId: member.id },
    ]);
    const ids = async (query: Record<string, string>) => {
      const path = `/v1/organizations/${organization.id}/usage/export.csv`;
      const { text } = await t.http
        .get(path)
        .query({ to: '2026-02-01', ...query })
        .set(admin.auth)
        .expect(200);
      return text
        .split('\r\n')
        .slice(1, -1)
        .map((line) => line.split(',', 1)[0]);
    };
    expect(await ids({})).toEqual(['3', '2', '1']);
    expect(await ids({ model: 'x', userId: member.id })).toEqual(['2']);
    expect(await ids({ from: '2026-01-02', to: '2026-01-03' })).toEqual(['2']);
    expect(await ids({ model: 'z' })).toEqual([]);
    await t.http.get(`/v1/organizations/${organization.id}/usage/export.csv?limit=1`).set(admin.auth).expect(400);
  });

  it.each([0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])('contains each of %i records once', async (count) => {
    const person = await createPerson(t.db);
    await insertMany(person, count);
    const lines = (await readAll(await open(person))).split('\r\n');
    expect(lines.slice(1, -1).map((line) => line.split(',', 1)[0])).toEqual(
      Array.from({ length: count }, (_, index) => `event-${count - index}`),
    );
  });

  it('reads no faster than the client, and stops when the client disconnects', async () => {
    const person = await createPerson(t.db);
    await insertMany(person, 30 * PAGE);
    await pagesReadDuring(async (pages) => {
      await readAll(await open(person));
      const whole = pages();
      const closed = new Promise((resolve) => {
        t.app.getHttpServer().once('request', (_, answer: ServerResponse) => answer.once('close', resolve));
      });
      const response = await open(person);
      // Meanwhile a second export is read to its end: enough time to read the first one completely.
      await readAll(await open(person));
      // Only what the sockets buffer, and not all 30 pages.
      expect(pages() - 2 * whole).toBeLessThan(20);
      response.destroy();
      await closed;
      const before = pages();
      await readAll(await open(person));
      // One page may already be requested.
      expect(pages() - before).toBeLessThanOrEqual(whole + 1);
    });
  });

  it('aborts the response when it cannot continue', async () => {
    const person = await createPerson(t.db);
    await insertMany(person, 30 * PAGE);
    const response = await open(person);
    await t.db.rows('ALTER TABLE usage RENAME TO usage_away');
    try {
      // The 30 MB do not fit into the buffers.
      await expect(readAll(response)).rejects.toThrow('aborted');
      expect(response.complete).toBe(false);
      const { body } = await t.http.get('/v1/usage/export.csv').set(person.auth).expect(500);
      expect(body.code).toBe('internal_error');
    } finally {
      await t.db.rows('ALTER TABLE usage_away RENAME TO usage');
    }
    expect((await readAll(await open(person))).split('\r\n')).toHaveLength(30 * PAGE + 2);
  });
});

import { jest } from '@jest/globals';
import { AuditService } from '../../src/audit/audit.service.js';
import { AuditSealsRepository } from '../../src/audit/seals/audit-seals.repository.js';
import { AuditSeals, type SealViolation } from '../../src/audit/seals/audit-seals.service.js';
import { DATABASE, type Database } from '../../src/platform/database/database.js';
import { Clock } from '../../src/platform/time/clock.service.js';
import { startTestApp, type TestApp, testEnvironment } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { holdJobs } from '../support/tenant-world.js';
import { eventually } from '../support/load.js';
import { signUp, type SignedInPerson } from '../support/people.js';
import { createOrganization } from '../support/tenants.js';

/** Changes the audit log as somebody with the rights of the owner. */
async function byHand({ pool }: TestDatabase, text: string, values: unknown[] = []): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query(`SELECT set_config('tenantry.audit_maintenance', 'on', true)`);
    await client.query(text, values);
    await client.query('COMMIT');
  } finally {
    client.release();
  }
}

describe('the seals of the audit log', () => {
  let db: TestDatabase;
  let t: TestApp;
  let person: SignedInPerson;
  let seals: AuditSeals;
  beforeEach(async () => {
    db = await createTestDatabase();
    // The job would seal between two steps of a test.
    await holdJobs(db, ['seal_audit_log']);
    t = await startTestApp({}, db);
    seals = t.app.get(AuditSeals, { strict: false });
    person = await signUp(t);
    for (let count = 0; count < 3; count += 1) await createOrganization(t, person);
    await age();
  });
  afterEach(async () => {
    await t.close();
    await db.drop();
  });

  /** Only entries that are older than a minute are sealed. */
  const age = () =>
    byHand(t.db, `UPDATE audit_log SET created_at = created_at - interval '1 hour' WHERE created_at > now() - interval '10 minutes'`);
  const find = async () => {
    const violations: SealViolation[] = [];
    await seals.verify((one) => violations.push(one));
    return violations.map(({ seal, details }) => `${seal}: ${details.replaceAll(/ between .*/g, '')}`);
  };

  it('cover all entries once, also by several processes at once, and leave out new ones', async () => {
    expect(await find()).toEqual(['1: it is missing: entries since ' + (await oldest())]);
    const sealed = await Promise.all([seals.sealNext(), seals.sealNext(), seals.sealNext()]);
    expect(sealed.filter((count) => count > 0)).toHaveLength(1);
    expect(await find()).toEqual([]);
    await createOrganization(t, person);
    expect(await seals.sealNext()).toBe(0);
    expect(await find()).toEqual([]);
  });
  const oldest = async () =>
    `${(await t.db.rows<{ at: Date }>('SELECT min(created_at) AS at FROM audit_log'))[0]!.at.toISOString()} are not sealed`;

  it.each([
    ['was changed', `UPDATE audit_log SET action = 'nothing.happened' WHERE id = $1`, '2: an entry was changed'],
    ['lost its changes', 'UPDATE audit_log SET changes = NULL WHERE id = $1', '2: an entry was changed'],
    ['has another address', `UPDATE audit_log SET ip_address = '203.0.113.9' WHERE id = $1`, '2: an entry was changed'],
    ['was removed', 'DELETE FROM audit_log WHERE id = $1', '2: 0 entries instead of 1'],
    [
      'moved',
      `UPDATE audit_log SET created_at = (SELECT until - interval '0.001 seconds' FROM audit_seals WHERE number = 1) WHERE id = $1`,
      '1: 5 entries instead of 4,2: 0 entries instead of 1',
    ],
    [
      'was doubled',
      `INSERT INTO audit_log SELECT gen_random_uuid(), organization_id, actor_kind, actor_id, action, target_type, target_id, changes, request_id, ip_address, created_at FROM audit_log WHERE id = $1`,
      '2: 2 entries instead of 1',
    ],
  ])('show that an entry %s', async (_, damage, expected) => {
    await seals.sealNext();
    // A second seal, right after the first.
    const { id } = await createOrganization(t, person);
    await byHand(t.db, `UPDATE audit_log SET created_at = (SELECT until FROM audit_seals) + interval '1 second' WHERE target_id = $1`, [
      id,
    ]);
    await seals.sealNext();
    expect(await find()).toEqual([]);
    const [entry] = await t.db.rows<{ id: string }>('SELECT id FROM audit_log WHERE target_id = $1', [id]);
    await byHand(t.db, damage, [entry!.id]);
    expect((await find()).join()).toBe(expected);
  });

  it.each([
    ['was removed', 'DELETE FROM audit_seals WHERE number = 2', '3: seals before it are missing'],
    ['was made to fit', `UPDATE audit_seals SET entries = 0 WHERE number = 2`, '2: it was changed'],
    ['has another sum', `UPDATE audit_seals SET sum = decode(repeat('00', 32), 'hex') WHERE number = 2`, '2: it was changed'],
    [
      'has the sum of another',
      'UPDATE audit_seals SET (sum, sum_mac) = (SELECT sum, sum_mac FROM audit_seals WHERE number = 1) WHERE number = 2',
      '2: it was changed',
    ],
    ['ends elsewhere', `UPDATE audit_seals SET until = until + interval '1 second' WHERE number = 3`, '3: it was changed'],
    ['was the first', 'DELETE FROM audit_seals WHERE number = 1', '2: seals before it are missing'],
  ])('show that a seal %s', async (_, damage, expected) => {
    await seals.sealNext();
    for (const seconds of [1, 2]) {
      const { id } = await createOrganization(t, person);
      await byHand(
        t.db,
        `UPDATE audit_log SET created_at = (SELECT max(until) FROM audit_seals) + $2 * interval '1 second' WHERE target_id = $1`,
        [id, seconds],
      );
      await t.db.rows('UPDATE audit_seals SET until = until');
      await seals.sealNext();
    }
    expect(await find()).toEqual([]);
    await t.db.rows(damage);
    expect(await find()).toContain(expected);
  });

  it('hold thousands of entries of one moment, and the rest in further seals', async () => {
    await byHand(
      t.db,
      `INSERT INTO audit_log (id, actor_kind, action, target_type, target_id, created_at)
       SELECT gen_random_uuid(), 'system', 'a.b', 'c', n, CASE WHEN n <= 6000 THEN now() - interval '3 hours' ELSE now() - interval '2 hours' + n * interval '0.001 seconds' END FROM generate_series(1, 12000) n`,
    );
    const counts: number[] = [];
    for (let count = await seals.sealNext(); count > 0; count = await seals.sealNext()) counts.push(count);
    const [all] = await t.db.rows<{ count: number }>(
      `SELECT count(*)::int FROM audit_log WHERE created_at < now() - interval '10 minutes'`,
    );
    expect(counts[0]).toBe(6000);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(all!.count);
    expect(Math.max(...counts.slice(1))).toBeLessThanOrEqual(5000);
    expect(await find()).toEqual([]);
  });

  it('wait for open transactions, whose entries have the time of their start', async () => {
    const repository = t.app.get(AuditSealsRepository, { strict: false });
    const pool = t.app.get<Database>(DATABASE, { strict: false });
    const settledIn = (seconds: number) => repository.findSettledMoment(-seconds, pool);
    await pool.transaction(async (tx) => {
      const { rows } = await tx.execute<{ start: string }>('SELECT now() AS start');
      expect((await settledIn(60)).getTime()).toBeLessThan(new Date(rows[0]!.start).getTime());
    });
    // A statement of a job may be open at this very moment too.
    await eventually('the transaction is over', async () => (await settledIn(60)).getTime() > Date.now());
  });

  it('are no alarm while a person is erased', async () => {
    await t.db.rows('UPDATE users SET deleted_at = now(), email = NULL WHERE id = $1', [person.id]);
    await seals.sealNext();
    const repository = t.app.get(AuditSealsRepository, { strict: false });
    const list = repository.list.bind(repository);
    const pool = t.app.get<Database>(DATABASE, { strict: false });
    // Between the seal and its entries.
    jest.spyOn(repository, 'list').mockImplementationOnce(async (...given) => {
      const read = await list(...given);
      await pool.transaction((tx) => t.app.get(AuditService, { strict: false }).erase([person.id], 500, tx));
      return read;
    });
    expect(await find()).toEqual([]);
    jest.restoreAllMocks();
    expect(await t.db.rows('SELECT FROM audit_log WHERE actor_id = $1 AND ip_address IS NOT NULL', [person.id])).toEqual([]);
  });

  it('follow the erasure of a person, and still show a change of the erased entries', async () => {
    await t.http.delete('/v1/users/me').set(person.auth);
    await t.db.rows('UPDATE users SET deleted_at = now(), email = NULL WHERE id = $1', [person.id]);
    await age();
    await seals.sealNext();
    const erase = async (): Promise<number> => {
      const pool = t.app.get<Database>(DATABASE, { strict: false });
      return pool.transaction((tx) => t.app.get(AuditService, { strict: false }).erase([person.id], 2, tx));
    };
    let erased = 0;
    for (let count = await erase(); count > 0; count = await erase()) erased += count;
    expect(erased).toBeGreaterThan(2);
    expect(await t.db.rows('SELECT FROM audit_log WHERE actor_id = $1 AND ip_address IS NOT NULL', [person.id])).toEqual([]);
    expect(await find()).toEqual([]);
    await byHand(t.db, `UPDATE audit_log SET ip_address = '203.0.113.9' WHERE actor_id = $1`, [person.id]);
    expect(await find()).toEqual(['1: an entry was changed']);
  });

  it('do not cover up a change, when a person is erased from the same entry afterwards', async () => {
    await t.db.rows('UPDATE users SET deleted_at = now(), email = NULL WHERE id = $1', [person.id]);
    await seals.sealNext();
    await byHand(t.db, `UPDATE audit_log SET action = 'nothing.happened', ip_address = '203.0.113.9' WHERE actor_id = $1`, [person.id]);
    const pool = t.app.get<Database>(DATABASE, { strict: false });
    await pool.transaction((tx) => t.app.get(AuditService, { strict: false }).erase([person.id], 500, tx));
    expect(await find()).toEqual(['1: an entry was changed']);
  });

  it('stay readable when the encryption keys are rotated', async () => {
    await seals.sealNext();
    const newer = `newer:${Buffer.alloc(32, 8).toString('base64')}`;
    const older = testEnvironment(db.url)['ENCRYPTION_KEYS']!;
    const rotating = await startTestApp({ ENCRYPTION_KEYS: `${newer},${older}` }, db);
    await rotating.app.get(AuditSeals, { strict: false }).renewEncryption();
    await rotating.close();
    const rotated = await startTestApp({ ENCRYPTION_KEYS: newer }, db);
    const violations: SealViolation[] = [];
    const newest = await rotated.app.get(AuditSeals, { strict: false }).verify((one) => violations.push(one));
    await rotated.close();
    expect([newest?.number, violations]).toEqual([1, []]);
    // Without the rotation, the key cannot be read.
    await expect(find()).rejects.toThrow('ENCRYPTION_KEYS has no key "newer"');
  });

  it('show an entry before the first', async () => {
    await seals.sealNext();
    await t.db.rows(
      `INSERT INTO audit_log (id, actor_kind, action, target_type, target_id, created_at) VALUES (gen_random_uuid(), 'system', 'a.b', 'c', 'd', now() - interval '2 days')`,
    );
    expect(await find()).toEqual(['1: an entry was added before ' + (await firstSeal()).from.toISOString()]);
  });
  const firstSeal = async () =>
    (await t.db.rows<{ from: Date; until: Date }>('SELECT "from", until FROM audit_seals WHERE number = 1'))[0]!;

  it('do not miss what the retention time has removed', async () => {
    await seals.sealNext();
    const { id } = await createOrganization(t, person);
    await byHand(t.db, `UPDATE audit_log SET created_at = (SELECT until FROM audit_seals) + interval '1 second' WHERE target_id = $1`, [
      id,
    ]);
    await seals.sealNext();
    const later = new Date(Date.now() + 400 * 86_400_000);
    jest.spyOn(t.app.get(Clock, { strict: false }), 'now').mockReturnValue(later);
    await byHand(t.db, 'DELETE FROM audit_log WHERE target_id <> $1', [id]);
    await seals.removeBefore(new Date((await firstSeal()).until.getTime() + 1), 500);
    expect((await find()).filter((one) => !one.includes('not sealed'))).toEqual([]);
    jest.restoreAllMocks();
    expect((await find())[0]).toBe('2: seals before it are missing');
  });
});

import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { v7 } from 'uuid';
import { type JournalEntry, JournalFiles, JournalGap, type JournalPosition } from '../../src/revocations/journal-files.js';
import { RevocationJournal } from '../../src/revocations/revocation-journal.worker.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { whileLocked } from '../support/database.js';
import { signIn, signUp, signUpOperator } from '../support/people.js';
import { addMember, createOrganization, insertUsers, runJob } from '../support/tenants.js';
import { until } from '../support/until.js';

const folder = mkdtempSync(path.join(tmpdir(), 'tenantry-journal-'));
afterAll(() => rmSync(folder, { recursive: true }));

const entryOf = (kind = 'session') => ({ kind, id: v7(), details: null, at: '2026-12-01T00:00:00.000Z' });

async function readAll(files: JournalFiles, last = 0): Promise<JournalEntry[]> {
  const position = await files.findPosition();
  return readAfter(files, { journalId: position!.journalId, last });
}

async function readAfter(files: JournalFiles, position: JournalPosition): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = [];
  for await (const some of files.readAfter(position)) entries.push(...some);
  return entries;
}

describe('the files of the journal', () => {
  const id = v7();
  let at: string;
  let files: JournalFiles;
  beforeEach(async () => {
    at = mkdtempSync(path.join(folder, 'files-'));
    files = new JournalFiles(at);
    await files.append([entryOf(), entryOf(), entryOf()], id);
  });
  const onlyFile = () => path.join(at, readdirSync(at)[0]!);

  it('number the entries without a gap, for another writer too, and only their owner may read them', async () => {
    await new JournalFiles(at).append([entryOf()], v7());
    await files.append([entryOf()], v7());
    expect((await readAll(files)).map(({ number }) => number)).toEqual([1, 2, 3, 4, 5]);
    expect((await readAll(files, 4)).map(({ number }) => number)).toEqual([5]);
    expect(await files.findPosition()).toMatchObject({ journalId: id, last: 5 });
    expect(statSync(onlyFile()).mode & 0o777).toBe(0o600);
  });

  it('lose the half of a line that a killed writer left, and nothing else', async () => {
    appendFileSync(onlyFile(), '{"number":4,"kind":"ses');
    expect((await readAll(new JournalFiles(at))).map(({ number }) => number)).toEqual([1, 2, 3]);
    await new JournalFiles(at).append([entryOf('user')], v7());
    expect((await readAll(files)).map(({ number, kind }) => `${number} ${kind}`)).toEqual([
      '1 session',
      '2 session',
      '3 session',
      '4 user',
    ]);
  });

  it('survive a writer that was frozen, lost its lock, and goes on after the next one', async () => {
    const frozen = readFileSync(onlyFile(), 'utf8').split('\n')[3]!;
    await files.append([entryOf(), entryOf()], v7());
    appendFileSync(onlyFile(), `${frozen}\n`);
    expect(await files.findPosition()).toMatchObject({ last: 5 });
    await files.append([entryOf()], v7());
    expect((await readAll(new JournalFiles(at))).map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('begin a new file when one is full, and are read from the file that is needed', async () => {
    const many = Array.from({ length: 5000 }, () => entryOf('x'.repeat(1000)));
    await files.append(many, v7());
    await files.append([entryOf(), entryOf()], v7());
    expect(readdirSync(at).sort()).toEqual(['revocations-0000000000000001.jsonl', 'revocations-0000000000005004.jsonl']);
    expect(await readAll(files)).toHaveLength(5005);
    rmSync(path.join(at, 'revocations-0000000000000001.jsonl'));
    expect((await readAll(files, 5004)).map(({ number }) => number)).toEqual([5005]);
    await expect(readAll(files, 5002)).rejects.toThrow(JournalGap);
  });

  it.each<[string, (text: string) => string]>([
    ['a line is missing', (text) => text.replace(/\{"number":2.*\n/, '')],
    ['a line is no JSON', (text) => text.replace('{"number":2', '"number":2')],
    ['the last lines are missing', (text) => text.replace(/\{"number":2.*\n.*\n/, '')],
    ['it belongs to another journal', (text) => text.replace(id, v7())],
  ])('show that %s', async (_, change) => {
    const text = readFileSync(onlyFile(), 'utf8');
    truncateSync(onlyFile(), 0);
    appendFileSync(onlyFile(), change(text));
    await expect(readAfter(files, { journalId: id, last: 3 })).rejects.toThrow(JournalGap);
  });
});

describe('the journal of revocations', () => {
  const journal = path.join(folder, 'journal');
  const files = new JournalFiles(journal);
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ REVOCATION_JOURNAL: `file://${journal}` });
  });
  afterAll(() => t.close());

  const drained = () => until(async () => (await t.db.rows('SELECT FROM revocations LIMIT 1')).length === 0);
  /** The entries that an action adds, without their numbers and times. */
  async function entriesOf(action: () => Promise<unknown>): Promise<string[]> {
    await drained();
    const before = (await files.findPosition())?.last ?? 0;
    await action();
    await drained();
    if (before === ((await files.findPosition())?.last ?? 0)) return [];
    return (await readAll(files, before)).map(({ kind, id, details }) => `${kind} ${id}${details === null ? '' : ` ${details}`}`).sort();
  }
  async function sessionsOf(userId: string): Promise<string[]> {
    return (await t.db.rows<{ id: string }>('SELECT id FROM sessions WHERE user_id = $1 ORDER BY id', [userId])).map(
      ({ id }) => `session ${id}`,
    );
  }

  it('begins with the process, so that a backup from before the first revocation has a position', async () => {
    const [known] = await until(async () => {
      const rows = await t.db.rows<{ id: string; last_number: string }>('SELECT id, last_number FROM revocation_journals');
      return rows.length > 0 && rows;
    });
    expect(await files.findPosition()).toMatchObject({ journalId: known!.id, last: Number(known!.last_number) });
    expect(known!.last_number).toBe('0');
  });

  it('has a session that ended, an API key that was revoked or rotated, and a deleted user with all sign-ins', async () => {
    const person = await signUp(t);
    const other = await signIn(t, person);
    const [, second] = await sessionsOf(person.id);
    expect(await entriesOf(() => t.http.post('/v1/auth/sign-out').set(other.auth).expect(200))).toEqual([second]);

    const { path: organization } = await createOrganization(t, person);
    const { body: key } = (await t.http
      .post(`${organization}/api-keys`)
      .set(person.auth)
      .send({ name: 'key', scopes: ['usage:write'] })
      .expect(201)) as { body: { id: string } };
    const rotate = () =>
      t.http.post(`${organization}/api-keys/${key.id}/rotate`).set(person.auth).send({ overlapSeconds: 3600 }).expect(201);
    expect(await entriesOf(rotate)).toEqual([expect.stringMatching(new RegExp(`^api_key ${key.id} 20`))]);
    const revoke = () => t.http.delete(`${organization}/api-keys/${key.id}`).set(person.auth).expect(204);
    expect(await entriesOf(revoke)).toEqual([expect.stringMatching(new RegExp(`^api_key ${key.id} 20`))]);

    const goner = await signUp(t);
    const sessions = await sessionsOf(goner.id);
    const [account] = await t.db.rows<{ id: string }>('SELECT id FROM accounts WHERE user_id = $1', [goner.id]);
    const text = readdirSync(journal).map((name) => readFileSync(path.join(journal, name), 'utf8'));
    expect(await entriesOf(() => t.http.delete('/v1/users/me').set(goner.auth).expect(204))).toEqual([
      `account ${account!.id}`,
      ...sessions,
      `user ${goner.id}`,
    ]);
    expect(text.join()).not.toContain(goner.email);
  });

  it.each<[change: string, table: string, entry: string]>([
    ['suspended_at = now()', 'users', 'user_suspension'],
    ['banned = true', 'users', 'user_ban'],
    ['operator = false', 'users', 'user_operator'],
    [`email = 'new@example.com'`, 'users', 'user_email'],
    [`role = 'member'`, 'organization_memberships', 'membership_role'],
    ['deleted_at = now()', 'organization_memberships', 'membership'],
    [`status = 'declined'`, 'invitations', 'invitation declined'],
    [`password = 'new'`, 'accounts', 'password 4266c1a01d25b6ab1896b4963dcbee42321b6ffd16d5971640f7dc556fb82b47'],
    ['deleted_at = now()', 'organizations', 'organization'],
  ])('has the change %s of %s, by hand as well, and none of its reversal', async (change, table, expected) => {
    const ids = await aTenant();
    const [kind, details] = expected.split(' ');
    const recorded = `${kind} ${ids[table]}${details === undefined ? '' : ` ${details}`}`;
    expect(await entriesOf(() => t.db.rows(`UPDATE ${table} SET ${change} WHERE id = $1`, [ids[table]]))).toEqual([recorded]);
    expect(await entriesOf(() => t.db.rows(`UPDATE ${table} SET ${change} WHERE id = $1`, [ids[table]]))).toEqual([]);
  });

  it.each(['sessions', 'api_keys', 'users', 'accounts', 'organization_memberships', 'organizations', 'invitations'])(
    'has a removed row of %s',
    async (table) => {
      const ids = await aTenant();
      const entries = await entriesOf(() => t.db.rows(`DELETE FROM ${table} WHERE id = $1`, [ids[table]]));
      expect(entries.join('\n')).toContain(` ${ids[table]}`);
    },
  );

  it('has no expired session, and no row of a deleted organization', async () => {
    const ids = await aTenant();
    await t.db.rows(`UPDATE sessions SET expires_at = now() - interval '1 second' WHERE id = $1`, [ids['sessions']]);
    await t.db.rows('UPDATE organizations SET deleted_at = now() WHERE id = $1', [ids['organizations']]);
    await drained();
    const tables = ['sessions', 'api_keys', 'organization_memberships', 'invitations', 'organizations'];
    const remove = async () => {
      for (const table of tables) await t.db.rows(`DELETE FROM ${table} WHERE id = $1`, [ids[table]]);
    };
    expect(await entriesOf(remove)).toEqual([]);
  });

  it('is written by one process at a time, and forgets no revocation that commits late', async () => {
    const [early, late] = await insertUsers(t, [{ name: 'early' }, { name: 'late' }]);
    const both = await entriesOf(() =>
      whileLocked(t.db, ['UPDATE users SET suspended_at = now() WHERE id = $1', early], async () => {
        await t.db.rows('UPDATE users SET suspended_at = now() WHERE id = $1', [late]);
        await drained();
      }).then(() => t.db.rows('UPDATE users SET suspended_at = now() WHERE id = $1', [early])),
    );
    expect(both).toEqual([`user_suspension ${early}`, `user_suspension ${late}`].sort());
    const writer = t.app.get(RevocationJournal, { strict: false });
    await whileLocked(t.db, [`SELECT pg_advisory_xact_lock(hashtextextended('revocation_journal', 0))`], async () => {
      const { last } = (await files.findPosition())!;
      await t.db.rows('UPDATE users SET banned = true WHERE id = $1', [late]);
      expect(await writer.write()).toBe(false);
      expect(await new JournalFiles(journal).findPosition()).toMatchObject({ last });
    });
    await drained();
  });

  it('refuses a folder that lacks entries, and keeps the revocations', async () => {
    await drained();
    const [user] = await insertUsers(t, [{ name: 'user' }]);
    await t.db.rows('UPDATE revocation_journals SET last_number = last_number + 1');
    await t.db.rows('UPDATE users SET suspended_at = now() WHERE id = $1', [user]);
    await expect(t.app.get(RevocationJournal, { strict: false }).write()).rejects.toThrow('REVOCATION_JOURNAL does not hold the journal');
    expect(await t.db.rows('SELECT FROM revocations')).toHaveLength(1);
    await t.db.rows('UPDATE revocation_journals SET last_number = last_number - 1');
    await drained();
  });

  /** A row of each table, by the name of the table. */
  async function aTenant(): Promise<Record<string, string>> {
    const person = await signUp(t);
    const { id: organizations } = await createOrganization(t, person);
    const [member] = await insertUsers(t, [{ name: 'member', email: `${v7()}@example.com` }]);
    await t.db.rows('UPDATE users SET operator = true WHERE id = $1', [member]);
    const ids = { organizations, users: member!, sessions: v7(), accounts: v7(), api_keys: v7(), invitations: v7() };
    const organization_memberships = await addMember(t, organizations, { id: member! }, 'admin');
    await t.db.rows(
      `INSERT INTO sessions (id, user_id, token, expires_at) VALUES ($1, $2, gen_random_uuid()::text, now() + interval '1 day')`,
      [ids.sessions, member],
    );
    await t.db.rows(
      `INSERT INTO accounts (id, user_id, provider, provider_account_id, password) VALUES ($1, $2, 'credential', gen_random_uuid()::text, $3)`,
      [ids.accounts, member, 'the hash of a password'],
    );
    await t.db.rows(
      `INSERT INTO api_keys (id, organization_id, created_by, name, prefix, hash, scopes) VALUES ($1, $2, $3, 'key', 'p', gen_random_uuid()::text, '{}')`,
      [ids.api_keys, organizations, person.id],
    );
    await t.db.rows(
      `INSERT INTO invitations (id, organization_id, email, role, expires_at) VALUES ($1, $2, 'guest@example.com', 'member', now() + interval '1 day')`,
      [ids.invitations, organizations],
    );
    return { ...ids, organization_memberships };
  }
});

describe('without a journal', () => {
  it('revocations are kept for a day, for a process that has one', async () => {
    const t = await startTestApp();
    try {
      const [old, recent] = await insertUsers(t, [{ name: 'old' }, { name: 'recent' }]);
      await t.db.rows('UPDATE users SET suspended_at = now() WHERE id = ANY ($1)', [[old, recent]]);
      await t.db.rows(`UPDATE revocations SET created_at = now() - interval '25 hours' WHERE subject_id = $1`, [old]);
      await runJob(t, await signUpOperator(t), 'prune_revocations');
      expect(await t.db.rows('SELECT FROM revocations WHERE subject_id = $1', [old])).toEqual([]);
      expect(await t.db.rows('SELECT FROM revocations WHERE subject_id = $1', [recent])).toHaveLength(1);
    } finally {
      await t.close();
    }
  });
});

import { createServer, type AddressInfo } from 'node:net';
import type { DBAdapter } from 'better-auth';
import { AuditRepository } from '../../src/audit/audit.repository.js';
import { AuditSealsRepository } from '../../src/audit/seals/audit-seals.repository.js';
import { AuditSeals } from '../../src/audit/seals/audit-seals.service.js';
import { AuditService } from '../../src/audit/audit.service.js';
import { Cursors } from '../../src/platform/pagination/cursors.service.js';
import { Keyring } from '../../src/platform/crypto/keyring.service.js';
import { AccountsRepository } from '../../src/accounts/accounts.repository.js';
import { ProviderTokens } from '../../src/accounts/provider-tokens.service.js';
import { createAdapter } from '../../src/auth/adapter/adapter.js';
import type { AdapterServices } from '../../src/auth/adapter/sign-in-rules.js';
import { signInContext } from '../../src/auth/better-auth/sign-in-context.js';
import { Clock } from '../../src/platform/time/clock.service.js';
import { newId } from '../../src/platform/crypto/ids.js';
import { loadConfig } from '../../src/platform/config/config.js';
import { createDatabase, type Database } from '../../src/platform/database/database.js';
import { testEnvironment } from '../support/app.js';
import { asAppRole, createTestDatabase, type TestDatabase } from '../support/database.js';

/** The part of our `betterAuth()` options that the adapter reads. */
const NAMES = {
  user: { modelName: 'users', fields: { image: 'imageUrl' }, additionalFields: { deletedAt: { type: 'date', required: false } } },
  session: { modelName: 'sessions', fields: { token: 'tokenHash' } },
  account: { modelName: 'accounts', fields: { providerId: 'provider', accountId: 'providerAccountId', password: 'passwordHash' } },
  verification: { modelName: 'verifications' },
} as const;

describe('the Better Auth adapter', () => {
  let db: TestDatabase;
  let database: Database;
  let adapter: DBAdapter;
  beforeAll(async () => {
    db = await createTestDatabase();
    database = createDatabase({ databaseUrl: asAppRole(db.url), databasePoolSize: 4 });
    adapter = createAdapter(database, services(database))({ ...NAMES, advanced: { database: { generateId: () => newId() } } });
  });
  afterAll(async () => {
    await database.$client.end();
    await db.drop();
  });

  const services = (over: Database): AdapterServices => {
    const config = loadConfig(testEnvironment(db.url));
    const cancelled = new AccountsRepository(over);
    const seals = new AuditSeals(new AuditSealsRepository(over), new Keyring(config), new Clock(), config, over);
    return {
      providerTokens: new ProviderTokens(new Keyring(config)),
      audit: new AuditService(new AuditRepository(over), new Cursors(config), seals),
      // Tests over HTTP cover what a take-over ends.
      takeovers: { endGrantsOfUnverified: async () => undefined },
      accounts: { cancelVerifications: async (userId, tx) => new Set(await cancelled.deleteVerificationsOfUsers([userId], tx)) },
      securityMails: { sendPasswordChanged: async () => undefined, sendMethodLinked: async () => undefined },
      verifications: { request: async () => undefined },
      clock: new Clock(),
    };
  };
  const makeUser = async () => {
    const id = newId();
    await db.rows(`INSERT INTO users (id, email, name) VALUES ($1, $2, 'U')`, [id, `${id}@example.com`]);
    return id;
  };
  const soon = () => new Date(Date.now() + 60_000);
  const makeSession = (userId: string, token: string) =>
    adapter.create<Record<string, unknown>>({
      model: 'session',
      data: { userId, token, expiresAt: soon(), createdAt: new Date(), updatedAt: new Date() },
    });
  const makeAccount = (userId: string, data: Record<string, unknown> = {}) =>
    adapter.create<Record<string, unknown>>({
      model: 'account',
      data: { userId, providerId: 'google', accountId: newId(), createdAt: new Date(), updatedAt: new Date(), ...data },
    });

  it('has no operation without our rules', () => {
    const operations = Object.entries(adapter).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []));
    // A new operation would bypass our rules: cover it first.
    expect(operations.sort()).toEqual(
      [
        'consumeOne',
        'count',
        'create',
        'delete',
        'deleteMany',
        'findMany',
        'findOne',
        'incrementOne',
        'transaction',
        'update',
        'updateMany',
      ].sort(),
    );
  });

  it('has the same operations in a transaction', async () => {
    await adapter.transaction(async (tx) => {
      const inside = Object.entries(tx).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []));
      const outside = Object.entries(adapter).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []));
      expect(inside.sort()).toEqual(outside.sort());
      const userId = await makeUser();
      await tx.create({
        model: 'session',
        data: { userId, token: 'raw-in-transaction', expiresAt: soon(), createdAt: new Date(), updatedAt: new Date() },
      });
      expect(await tx.findOne({ model: 'session', where: [{ field: 'token', value: 'raw-in-transaction' }] })).not.toBeNull();
    });
    expect(await db.rows(`SELECT id FROM sessions WHERE token LIKE '%raw%'`)).toEqual([]);
  });

  it('hashes a session token in every query, and returns the raw token', async () => {
    const userId = await makeUser();
    for (const token of ['one', 'two', 'three', 'four', 'five']) expect(await makeSession(userId, token)).toMatchObject({ token, userId });
    const by = (token: string) => [{ field: 'token', value: token }];
    expect(await adapter.findOne({ model: 'session', where: by('one') })).toMatchObject({ token: 'one' });
    expect(
      await adapter.findMany({ model: 'session', where: [{ field: 'token', value: ['one', 'two', 'none'], operator: 'in' }] }),
    ).toHaveLength(2);
    expect(await adapter.count({ model: 'session', where: by('two') })).toBe(1);
    expect(await adapter.update({ model: 'session', where: by('two'), update: { userAgent: 'x' } })).toMatchObject({ token: 'two' });
    expect(await adapter.updateMany({ model: 'session', where: by('two'), update: { userAgent: 'y' } })).toBe(1);
    expect(await adapter.consumeOne({ model: 'session', where: by('three') })).toMatchObject({ token: 'three' });
    expect(await adapter.consumeOne({ model: 'session', where: by('three') })).toBeNull();
    expect(await adapter.deleteMany({ model: 'session', where: by('four') })).toBe(1);
    await adapter.delete({ model: 'session', where: by('five') });
    expect(await db.rows(`SELECT token FROM sessions WHERE token IN ('one', 'two', 'three', 'four', 'five')`)).toEqual([]);
    expect(await db.rows('SELECT id FROM sessions WHERE user_id = $1', [userId])).toHaveLength(2);
  });

  it('does not accept a hash as a token', async () => {
    const userId = await makeUser();
    await makeSession(userId, 'secret');
    const [row] = await db.rows<{ token: string }>('SELECT token FROM sessions WHERE user_id = $1', [userId]);
    expect(await adapter.findOne({ model: 'session', where: [{ field: 'token', value: row!.token }] })).toBeNull();
  });

  it('adds no token to rows without one', async () => {
    const user = await adapter.create<Record<string, unknown>>({
      model: 'user',
      data: { name: 'N', email: 'no-token@example.com', emailVerified: false, createdAt: new Date(), updatedAt: new Date() },
    });
    expect(user).not.toHaveProperty('token');
  });

  it('encrypts provider tokens in every write, and decrypts them in every read', async () => {
    const account = await makeAccount(await makeUser(), {
      accessToken: 'plain-access',
      refreshToken: 'plain-refresh',
      idToken: 'plain-id',
    });
    const where = [{ field: 'id', value: String(account['id']) }];
    expect(account).toMatchObject({ accessToken: 'plain-access', refreshToken: 'plain-refresh', idToken: 'plain-id' });
    expect(await adapter.update({ model: 'account', where, update: { accessToken: 'plain-second' } })).toMatchObject({
      accessToken: 'plain-second',
    });
    await adapter.updateMany({ model: 'account', where, update: { refreshToken: 'plain-third' } });
    const [row] = await db.rows<Record<string, string>>('SELECT access_token, refresh_token, id_token FROM accounts WHERE id = $1', [
      account['id'],
    ]);
    for (const stored of Object.values(row!)) expect(stored).toMatch(/^test\./);
    expect(await adapter.findMany({ model: 'account', where })).toEqual([
      expect.objectContaining({ accessToken: 'plain-second', refreshToken: 'plain-third', idToken: 'plain-id' }),
    ]);
    expect(await adapter.consumeOne({ model: 'account', where })).toMatchObject({ idToken: 'plain-id' });
  });

  it('does not find deleted users', async () => {
    const userId = await makeUser();
    await makeSession(userId, 'of-the-deleted');
    await db.rows('UPDATE users SET deleted_at = now(), email = NULL WHERE id = $1', [userId]);
    expect(await adapter.findOne({ model: 'user', where: [{ field: 'id', value: userId }] })).toBeNull();
    expect(await adapter.findMany({ model: 'user', where: [{ field: 'id', value: userId }] })).toEqual([]);
    expect(
      await adapter.findOne({ model: 'session', where: [{ field: 'token', value: 'of-the-deleted' }], join: { user: true } }),
    ).toMatchObject({ user: null });
  });

  it('removes a session when the linked account that opened it was deleted meanwhile', async () => {
    const userId = await makeUser();
    const opening = signInContext.run({ path: '/sign-in/social', requestId: null, ipAddress: null }, async () => {
      const account = await makeAccount(userId, { providerId: 'github', accessToken: 'x' });
      await db.rows('DELETE FROM accounts WHERE id = $1', [account['id']]);
      return makeSession(userId, 'too-late');
    });
    await expect(opening).rejects.toMatchObject({ statusCode: 401 });
    expect(await db.rows('SELECT id FROM sessions WHERE user_id = $1', [userId])).toEqual([]);
  });

  it.each([
    ['a statement', (broken: DBAdapter) => broken.findOne({ model: 'user', where: [{ field: 'email', value: 'a@example.com' }] })],
    ['consuming', (broken: DBAdapter) => broken.consumeOne({ model: 'verification', where: [{ field: 'identifier', value: 'x' }] })],
    ['a transaction', (broken: DBAdapter) => broken.transaction(async () => 1)],
  ])('reports an unavailable database for %s', async (_what, work) => {
    // Accepts connections and closes them, like a server that shuts down.
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const nowhere = createDatabase({ databaseUrl: `postgres://127.0.0.1:${port}/none`, databasePoolSize: 2 });
    const broken = createAdapter(nowhere, services(nowhere))({ ...NAMES });
    await expect(work(broken)).rejects.toMatchObject({ statusCode: 503, body: { code: 'SERVICE_UNAVAILABLE' } });
    await nowhere.$client.end();
    await new Promise((resolve) => server.close(resolve));
  });
});

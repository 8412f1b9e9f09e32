import { readFileSync } from 'node:fs';
import { startTestApp, type TestApp, testEnvironment } from '../support/app.js';
import { type OpenApiDocument, type Operation, operationsOf } from '../support/api.js';
import { type Crawl, crawl, createWorld, type Narrowed, type World } from '../support/crawl.js';
import { createTestDatabase, onServer, type TestDatabase } from '../support/database.js';
import { type Change, copyOf, MutantHost } from '../support/mutants.js';
import { nameOf } from '../support/mutations.js';
import { MUTATIONS } from '../support/tenancy-mutations.js';

const PROVIDER = { GOOGLE_CLIENT_ID: 'id', GOOGLE_CLIENT_SECRET: 'secret' };

const operations = operationsOf(JSON.parse(readFileSync('openapi.json', 'utf8')) as OpenApiDocument);

describe('tenant isolation', () => {
  let t: TestApp;
  let whole: Crawl;

  beforeAll(async () => {
    t = await startTestApp(PROVIDER);
    whole = await crawl({ url: t.url, db: t.db, operations }, await createWorld(t.db));
  }, 120_000);
  afterAll(() => t.close());

  it('lets no caller read or change anything of another organization, whatever ids the caller sends', () => {
    expect(whole.findings).toEqual([]);
  });

  it('calls every operation as every kind of caller', () => {
    for (const caller of ['signed out', 'admin of another organization']) {
      expect([...whole.visited.get(caller)!].toSorted()).toEqual(operations.map(({ id }) => id).toSorted());
    }
    expect(whole.visited.size).toBeGreaterThan(20);
    expect(whole.requests).toBeGreaterThan(1000);
  });
});

describe('the crawl itself', () => {
  let host: MutantHost;
  /** Contains the test data; every mutant gets a copy. */
  let template: TestDatabase;
  let shared: TestDatabase | undefined;
  let world: World;

  beforeAll(async () => {
    template = await createTestDatabase();
    world = await createWorld(template);
    // A database with connections cannot be copied.
    await template.pool.end();
    host = new MutantHost();
  });
  afterAll(async () => {
    await host.end();
    await shared?.drop();
    await onServer(`DROP DATABASE ${new URL(template.url).pathname.slice(1)}`);
  });

  it.each(MUTATIONS.map((mutation) => [nameOf(mutation), mutation] as const))('detects the removal of %s', async (_, mutation) => {
    const { findings } = await onMutant(mutation, mutation, async (at) => crawl(at, world, mutation));
    expect(findings).not.toEqual([]);
  });

  it('finds nothing without a mutation', async () => {
    const looks = new Map(MUTATIONS.map(({ callers, operations: ids }) => [JSON.stringify([callers, ids]), { callers, operations: ids }]));
    const findings = await onMutant('unchanged', {}, async (at) => {
      const found: string[] = [];
      // Reading callers first, because later ones write rows that lists return.
      const inOrder = [...looks.values()].toSorted((a, b) => Number(onlyReads(b)) - Number(onlyReads(a)));
      for (const look of inOrder) found.push(...(await crawl(at, world, look)).findings);
      return found;
    });
    expect(findings).toEqual([]);
  });

  /** Runs a build with one mutation on a copy of the test data; mutations that are only read share one copy. */
  async function onMutant<T>(
    change: Change,
    narrowed: Narrowed,
    look: (at: { url: string; db: TestDatabase; operations: Operation[] }) => Promise<T>,
  ): Promise<T> {
    const shares = onlyReads(narrowed);
    const db = shares ? (shared ??= await copyOf(template)) : await copyOf(template);
    const url = await host.start(change, { ...testEnvironment(db.url), ...PROVIDER });
    const seen = await look({ url, db, operations });
    await host.stop();
    if (!shares) await db.drop();
    return seen;
  }

  function onlyReads({ operations: ids = [] }: Narrowed): boolean {
    return ids.length > 0 && ids.every((id) => operations.find((operation) => operation.id === id)!.method === 'GET');
  }
});

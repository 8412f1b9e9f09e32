import { jest } from '@jest/globals';
import fc from 'fast-check';
import supertest from 'supertest';
import { testEnvironment } from '../../support/app.js';
import { expectHistories } from '../../support/convergence.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { MutantHost, nameOf } from '../../support/mutants.js';
import type { Mutation } from '../../support/mutations.js';
import { signUp, signUpOperator } from '../../support/people.js';
import { endProcesses, ready, startServer } from '../../support/processes.js';
import { PlanFile } from '../../support/usage/usage-books.js';
import { failuresOf, FREE_CAP, historyArbitrary, type UsageTarget, PRO_CAP, watchCaps } from '../../support/usage/usage-histories.js';

// Nothing is expected to take that long; a busy machine is no failure, though.
jest.setTimeout(600_000);

/** How many histories; a third of them while servers are killed. */
const RUNS = Number(process.env['FC_RUNS'] ?? 45);
/** After so many requests a server is killed in the midst of them. */
const REQUESTS_OF_A_LIFE = 50;

const plans = new PlanFile({ free: { tokensPerPeriod: FREE_CAP }, pro: { tokensPerPeriod: PRO_CAP } });
const ENVIRONMENT = { PLANS_FILE: plans.path, LOG_LEVEL: 'error' };
const databases: TestDatabase[] = [];
afterEach(() => endProcesses());
afterAll(async () => {
  for (const db of databases) await db.drop();
  plans.remove();
});

async function newDatabase(): Promise<TestDatabase> {
  const db = await createTestDatabase();
  databases.push(db);
  await watchCaps(db);
  return db;
}

async function placeOf(db: TestDatabase, urls: () => string[]): Promise<UsageTarget> {
  const app = { db, http: supertest(urls()[0]!) };
  return { db, urls, admin: await signUp(app), operator: await signUpOperator(app) };
}

const start = async (db: TestDatabase) => ready(await startServer(db.url, ENVIRONMENT));

describe('the ledger of usage', () => {
  it('keeps every promise in any interleaving over two processes', async () => {
    const db = await newDatabase();
    const servers = await Promise.all([start(db), start(db)]);
    const place = await placeOf(db, () => servers.map(({ url }) => url));
    await expectHistories(historyArbitrary(), async (all) => failuresOf(place, all), RUNS);
  });

  it('keeps every promise while one process after the other is killed', async () => {
    const db = await newDatabase();
    const servers = await Promise.all([start(db), start(db), start(db)]);
    let requests = 0;
    let kills = 0;
    let another: Promise<unknown> | undefined;
    const killOne = async () => {
      kills += 1;
      servers.shift()!.kill('SIGKILL');
      servers.push(await start(db));
      another = undefined;
    };
    const place = await placeOf(db, () => {
      requests += 1;
      if (requests % REQUESTS_OF_A_LIFE === 0) another ??= killOne();
      return servers.map(({ url }) => url);
    });
    try {
      await expectHistories(historyArbitrary(), async (all) => failuresOf(place, all), Math.ceil(RUNS / 3));
    } finally {
      await another;
    }
    expect(kills).toBeGreaterThan(0);
  });
});

/** What holds the promises; without it the proof must fail. */
const MUTATIONS: Mutation[] = [
  { file: 'usage/ledger/usage.repository.js', search: ' FOR NO KEY UPDATE', replace: '' },
  { file: 'usage/ledger/usage.repository.js', search: 'WHERE q.held > 0', replace: 'WHERE false' },
  { file: 'usage/ledger/ledger-decider.js', search: ' && hold.periodStart.getTime() === row.periodStart.getTime()', replace: '' },
];

describe('the proof itself', () => {
  let hosts: MutantHost[];
  beforeAll(() => {
    hosts = [new MutantHost(), new MutantHost()];
  });
  afterAll(async () => {
    for (const host of hosts) await host.end();
  });

  it.each(MUTATIONS.map((mutation) => [nameOf(mutation), mutation] as const))('fails when this is taken out: %s', async (_, mutation) => {
    const db = await newDatabase();
    await takeTime(db);
    const env = { ...testEnvironment(db.url), ...ENVIRONMENT, LOG_LEVEL: 'silent' };
    const urls = await Promise.all(hosts.map(async (host) => host.start(mutation, env)));
    try {
      const place = await placeOf(db, () => urls);
      const failures = await failuresOf(place, fc.sample(historyArbitrary(), { seed: 1, numRuns: 15 }));
      expect(failures.size).toBeGreaterThan(0);
    } finally {
      for (const host of hosts) await host.stop();
    }
  });

  /** Every transaction stays open for a while after it has decided: those that may meet do. */
  async function takeTime(db: TestDatabase): Promise<void> {
    await db.rows(`CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$`);
    await db.rows('CREATE TRIGGER take_time BEFORE UPDATE ON usage_quotas FOR EACH STATEMENT EXECUTE FUNCTION take_time()');
  }
});

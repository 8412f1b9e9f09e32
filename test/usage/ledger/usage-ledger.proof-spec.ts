import { jest } from '@jest/globals';
import fc from 'fast-check';
import supertest from 'supertest';
import { testEnvironment } from '../../support/app.js';
import { expectHistories } from '../../support/convergence.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { MutantHost } from '../../support/mutants.js';
import { nameOf } from '../../support/mutations.js';
import { LEDGER_MUTATIONS } from '../../support/proof-mutations.js';
import { signUp, signUpOperator } from '../../support/people.js';
import { endProcesses, ready, startServer } from '../../support/processes.js';
import { PlanFile } from '../../support/plan-file.js';
import { failuresOf, FREE_CAP, historyArbitrary, type UsageTarget, PRO_CAP, watchCaps } from '../../support/usage/usage-histories.js';

// A generous limit: a busy machine is not a failure.
jest.setTimeout(600_000);

/** The number of histories; the test with kills uses a third of it. */
const RUNS = Number(process.env['FC_RUNS'] ?? 45);
/** Requests until a server is killed. */
const REQUESTS_OF_A_LIFE = 50;
/** The fault of a missing lock shows only when two processes overlap, which a busy machine may not allow in one round. */
const MUTANT_ROUNDS = 6;

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

async function targetOf(db: TestDatabase, urls: () => string[]): Promise<UsageTarget> {
  const app = { db, http: supertest(urls()[0]!) };
  return { db, urls, admin: await signUp(app), operator: await signUpOperator(app) };
}

const start = async (db: TestDatabase) => ready(await startServer(db.url, ENVIRONMENT));

describe('the usage ledger', () => {
  it('is correct in any interleaving on two processes', async () => {
    const db = await newDatabase();
    const servers = await Promise.all([start(db), start(db)]);
    const target = await targetOf(db, () => servers.map(({ url }) => url));
    await expectHistories(historyArbitrary(), async (all) => failuresOf(target, all), RUNS);
  });

  it('is correct while processes are killed', async () => {
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
    const target = await targetOf(db, () => {
      requests += 1;
      if (requests % REQUESTS_OF_A_LIFE === 0) another ??= killOne();
      return servers.map(({ url }) => url);
    });
    try {
      await expectHistories(historyArbitrary(), async (all) => failuresOf(target, all), Math.ceil(RUNS / 3));
    } finally {
      await another;
    }
    expect(kills).toBeGreaterThan(0);
  });
});

describe('the proof itself', () => {
  let hosts: MutantHost[];
  beforeAll(() => {
    hosts = [new MutantHost(), new MutantHost()];
  });
  afterAll(async () => {
    for (const host of hosts) await host.end();
  });

  it.each(LEDGER_MUTATIONS.map((mutation) => [nameOf(mutation), mutation] as const))('fails without this code: %s', async (_, mutation) => {
    const db = await newDatabase();
    await slowDownTransactions(db);
    const env = { ...testEnvironment(db.url), ...ENVIRONMENT, LOG_LEVEL: 'silent' };
    const urls = await Promise.all(hosts.map(async (host) => host.start(mutation, env)));
    try {
      const target = await targetOf(db, () => urls);
      let failures = 0;
      for (let seed = 1; failures === 0 && seed <= MUTANT_ROUNDS; seed += 1)
        failures = (await failuresOf(target, fc.sample(historyArbitrary(), { seed, numRuns: 15 }))).size;
      expect(failures).toBeGreaterThan(0);
    } finally {
      for (const host of hosts) await host.stop();
    }
  });

  /** Keeps every transaction open for a while after its decision, so that concurrent ones overlap. */
  async function slowDownTransactions(db: TestDatabase): Promise<void> {
    await db.rows(`CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$`);
    await db.rows('CREATE TRIGGER take_time BEFORE UPDATE ON usage_quotas FOR EACH STATEMENT EXECUTE FUNCTION take_time()');
  }
});

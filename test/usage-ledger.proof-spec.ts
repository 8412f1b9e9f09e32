import { jest } from '@jest/globals';
import supertest from 'supertest';
import { expectAll } from './support/convergence.js';
import { createTestDatabase, type TestDatabase } from './support/database.js';
import { signUp, signUpOperator } from './support/people.js';
import { endProcesses, type Process, ready, startServer } from './support/processes.js';
import { PlanFile } from './support/usage-books.js';
import { failuresOf, FREE_CAP, type History, historyArbitrary, type Place, PRO_CAP, watchCaps } from './support/usage-histories.js';

// Nothing is expected to take that long; a busy machine is no failure, though.
jest.setTimeout(600_000);

/** How many histories; a third of them while servers are killed. */
const RUNS = Number(process.env['FC_RUNS'] ?? 60);

const plans = new PlanFile({ free: { tokensPerPeriod: FREE_CAP }, pro: { tokensPerPeriod: PRO_CAP } });
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

async function placeOf(db: TestDatabase, urls: () => string[]): Promise<Place> {
  const app = { db, http: supertest(urls()[0]) };
  return { db, urls, admin: await signUp(app), operator: await signUpOperator(app) };
}

const start = async (db: TestDatabase) => ready(await startServer(db.url, { PLANS_FILE: plans.path, LOG_LEVEL: 'error' }));

describe('the ledger of usage', () => {
  it('keeps every promise in any interleaving over two processes', async () => {
    const db = await newDatabase();
    const servers = await Promise.all([start(db), start(db)]);
    const place = await placeOf(db, () => servers.map(({ url }) => url));
    await expectAll(historyArbitrary(), async (all) => failuresOf(place, all), RUNS);
  });

  it('keeps every promise while one process after the other is killed', async () => {
    const db = await newDatabase();
    const servers = await Promise.all([start(db), start(db)]);
    const place = await placeOf(db, () => servers.map(({ url }) => url));
    await expectAll(historyArbitrary(), async (all) => whileKilling(servers, () => start(db), place, all), Math.ceil(RUNS / 3));
  });

  /** In the midst of the histories one server is killed, and another one takes its place. */
  async function whileKilling(servers: Process[], startAnother: () => Promise<Process>, place: Place, all: History[]) {
    let isDone = false;
    const killing = async () => {
      while (!isDone) {
        servers.push(await startAnother());
        servers.shift()!.kill('SIGKILL');
      }
    };
    const killed = killing();
    try {
      return await failuresOf(place, all);
    } finally {
      isDone = true;
      await killed;
    }
  }
});

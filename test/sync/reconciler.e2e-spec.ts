import { Logger } from '@nestjs/common';
import { sql } from 'drizzle-orm';
import { createDatabase, type Queryable } from '../../src/platform/database/database.js';
import { Reconciler, wouldRemoveMost } from '../../src/sync/reconciler.service.js';
import type { Comparison, Difference, Finding, ReconciliationOptions, ReconciliationSource } from '../../src/sync/reconciliation.port.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

let testDatabase: TestDatabase;
let reconciler: Reconciler;
let close: () => Promise<void>;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const db = createDatabase({ databaseUrl: testDatabase.url, databasePoolSize: 2 });
  reconciler = new Reconciler(db);
  close = async () => db.$client.end();
});
afterAll(async () => {
  await close();
  await testDatabase.drop();
});

const sourceOf = (...comparisons: Comparison[]): ReconciliationSource => ({
  comparisons: async function* () {
    yield* comparisons;
  },
});

const stale = (id: string, repair?: Finding['repair']): Finding => ({ kind: 'stale', resource: 'row', id, details: [], repair });

async function reconcile(sources: ReconciliationSource[], options: ReconciliationOptions = {}) {
  const differences: Difference[] = [];
  const summary = await reconciler.reconcile(sources, { ...options, onDifference: (one) => differences.push(one) });
  return { summary, lines: differences.map(({ id, isRepaired }) => `${id} ${isRepaired ? 'repaired' : 'left'}`) };
}

describe('the reconciler', () => {
  beforeAll(() => Logger.overrideLogger(false));

  it('reports differences, and repairs them only with fix', async () => {
    let isRight = false;
    const repair = async () => void (isRight = true);
    const source = sourceOf(async () => (isRight ? [] : [stale('a', repair)]));
    expect((await reconcile([source])).lines).toEqual(['a left']);
    expect(isRight).toBe(false);
    const { summary, lines } = await reconcile([source], { fix: true });
    expect(lines).toEqual(['a repaired']);
    expect(summary).toEqual({ found: 1, repaired: 1, counts: new Map([['stale row', { found: 1, repaired: 1 }]]) });
    expect((await reconcile([source], { fix: true })).summary.found).toBe(0);
  });

  it('repairs at most three times, also after a conflict with another transaction', async () => {
    let attempts = 0;
    const conflict = async (tx: Queryable) => {
      attempts += 1;
      await tx.execute(sql`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'deadlock_detected'; END $$`);
    };
    expect((await reconcile([sourceOf(async () => [stale('a', conflict)])], { fix: true })).lines).toEqual(['a left']);
    expect(attempts).toBe(3);
  });

  it('runs a repair that several findings share once, and leaves a finding without a repair', async () => {
    let attempts = 0;
    const repair = async () => void (attempts += 1);
    const compare = async () => (attempts === 0 ? [stale('a', repair), stale('b', repair), stale('c')] : [stale('c')]);
    expect((await reconcile([sourceOf(compare)], { fix: true })).lines).toEqual(['a repaired', 'b repaired', 'c left']);
    expect(attempts).toBe(1);
  });

  it('continues with the next source after a failure, and throws the failure at the end', async () => {
    const completed: string[] = [];
    const failing = sourceOf(() => Promise.reject(new Error('unavailable')));
    const working = { ...sourceOf(async () => []), onComplete: () => void completed.push('working') };
    await expect(reconcile([failing, working])).rejects.toThrow(/^unavailable$/);
    expect(completed).toEqual(['working']);
    await expect(reconcile([failing, failing])).rejects.toThrow('Error: unavailable; Error: unavailable');
  });

  it('stops at the signal; the nightly run returns the number of differences so far', async () => {
    const stopping = new AbortController();
    const never = async () => Promise.reject(new Error('compared after the stop'));
    const stop = async () => {
      stopping.abort(new Error('stopped'));
      stopping.signal.throwIfAborted();
      return [];
    };
    const sources = [sourceOf(async () => [stale('a')], stop), sourceOf(never)];
    await expect(reconcile(sources, { signal: stopping.signal })).rejects.toThrow('stopped');
    const nightly = { reconcile: (options?: ReconciliationOptions) => reconciler.reconcile(sources, options) };
    expect(await reconciler.runNightly(nightly, stopping.signal)).toBe(1);
  });

  it.each([
    [10, 10, false],
    [11, 22, false],
    [11, 21, true],
  ])('judges the removal of %i of %i rows', (removed, total, expected) => {
    expect(wouldRemoveMost(removed, total)).toBe(expected);
  });
});

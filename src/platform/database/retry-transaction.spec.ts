import { ConcurrencyConflict } from './database-errors.js';
import { retryTransaction } from './retry-transaction.js';

/** A transaction that fails with these errors, one after the other, and then succeeds. */
function failing(...errors: Error[]) {
  let runs = 0;
  const run = async () => {
    runs += 1;
    const error = errors[runs - 1];
    if (error !== undefined) throw error;
    return Promise.resolve(`run ${runs}`);
  };
  return { run, runs: () => runs };
}

const conflict = () => new ConcurrencyConflict();

describe('retrying a transaction', () => {
  it('runs it again after a lost race', async () => {
    expect(await retryTransaction(failing(conflict(), conflict()).run)).toBe('run 3');
  });

  it('throws any other error at once', async () => {
    const { run, runs } = failing(new Error('no such column'));
    await expect(retryTransaction(run)).rejects.toThrow('no such column');
    expect(runs()).toBe(1);
  });

  it('gives up after the last attempt, with its error', async () => {
    const last = conflict();
    const { run, runs } = failing(conflict(), conflict(), last);
    await expect(retryTransaction(run, { attempts: 3 })).rejects.toBe(last);
    expect(runs()).toBe(3);
  });

  it('retries the errors that the caller names, and prepares each retry', async () => {
    const missing = new Error('missing');
    const prepared: unknown[] = [];
    const options = { isRetryable: (error: unknown) => error === missing, beforeRetry: (error: unknown) => void prepared.push(error) };
    expect(await retryTransaction(failing(missing).run, options)).toBe('run 2');
    await expect(retryTransaction(failing(conflict()).run, options)).rejects.toThrow(ConcurrencyConflict);
    expect(prepared).toEqual([missing]);
  });
});

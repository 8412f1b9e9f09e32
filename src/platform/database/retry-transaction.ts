import { setTimeout as sleep } from 'node:timers/promises';
import { isRetryable } from './database-errors.js';

const ATTEMPTS = 5;
const LONGEST_FIRST_PAUSE_MS = 5;

interface RetryOptions {
  attempts?: number;
  isRetryable?: (error: unknown) => boolean;
  /** Prepares the next attempt, for example creates what the last one did not find. */
  beforeRetry?: (error: unknown) => Promise<void> | void;
}

/**
 * Runs a transaction again when it lost a race, after growing, random pauses.
 * @param run begins a new transaction each time
 * @throws the last error, when no attempt succeeded
 */
export async function retryTransaction<T>(run: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const { attempts = ATTEMPTS, isRetryable: mayRetry = isRetryable, beforeRetry } = options;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await run();
    } catch (error) {
      if (attempt >= attempts || !mayRetry(error)) throw error;
      await beforeRetry?.(error);
      await sleep(Math.random() * LONGEST_FIRST_PAUSE_MS * attempt);
    }
  }
}

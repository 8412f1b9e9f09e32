import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { isDatabaseUnavailable } from './database-errors.js';

const RETRY_MS = 500;
/** A busy server may take seconds, however short the time to wait is. */
const CONNECT_MS = 10_000;

interface Patience {
  seconds: number;
  /** Called once, when the first attempt has failed. */
  onWait: (error: unknown) => void;
}

/** Connects again until the database takes statements. A refusal, such as a wrong password, is thrown at once. */
export async function waitForDatabase(connectionString: string, { seconds, onWait }: Patience): Promise<void> {
  const end = performance.now() + seconds * 1000;
  for (let attempt = 1; ; attempt += 1) {
    try {
      await tryDatabase(connectionString);
      return;
    } catch (error) {
      if (!isDatabaseUnavailable(error) || performance.now() >= end) throw error;
      if (attempt === 1) onWait(error);
    }
    await sleep(Math.min(RETRY_MS, Math.max(end - performance.now(), 0)));
  }
}

async function tryDatabase(connectionString: string): Promise<void> {
  const client = new pg.Client({ connectionString, application_name: 'tenantry-start', connectionTimeoutMillis: CONNECT_MS });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('SELECT 1');
  } finally {
    await client.end();
  }
}

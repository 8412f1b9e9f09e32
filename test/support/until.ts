import type { TestDatabase } from './database.js';

/** Asks again until the answer is neither false nor undefined, and returns it; fails after a deadline, saying how it was instead. */
export async function until<T>(
  condition: () => T | Promise<T>,
  describe: () => Promise<string> | string = () => 'it never was',
  deadlineMs = 20_000,
): Promise<Exclude<T, undefined | false>> {
  for (const start = Date.now(); Date.now() - start < deadlineMs;) {
    const given = await condition();
    if (given !== undefined && given !== false) return given as Exclude<T, undefined | false>;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`Waited for ${deadlineMs} ms in vain: ${await describe()}`);
}

/** Waits until so many statements on this database wait for a lock that another one holds. */
export async function untilLocked({ rows }: TestDatabase, wanted = 1): Promise<void> {
  const waiting = async () =>
    rows<{ query: string }>(
      `SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()`,
    );
  await until(
    async () => (await waiting()).length >= wanted,
    async () => `${wanted} statements should wait for a lock; those that do: ${JSON.stringify(await waiting())}`,
  );
}

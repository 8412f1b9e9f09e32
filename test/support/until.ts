import type { TestDatabase } from './database.js';

/** Polls until the condition is truthy, and returns its value. Fails after a deadline with a description of the state. */
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

/** Waits until `wanted` statements on this database wait for a lock. */
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

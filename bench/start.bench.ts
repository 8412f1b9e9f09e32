import { bearer, load, median } from './support/contest.js';
import type { BenchDatabase } from './support/database.js';
import { withPrograms } from './support/program.js';
import { heading, note, verdict } from './support/report.js';

const STARTS = 5;
const UNDER_LOAD_MS = 15_000;

/** The time until it serves, and its memory under load. */
export async function start(db: BenchDatabase): Promise<void> {
  heading('start', 'from the start of the process to the first ready answer, database running and migrated; then memory under load');
  const seconds: number[] = [];
  for (let count = 0; count < STARTS; count += 1) {
    await withPrograms(db, async ({ tenantry }) => {
      const from = performance.now();
      await tenantry();
      seconds.push((performance.now() - from) / 1000);
    });
  }
  verdict({ what: 'warm start to ready, s', measured: median(seconds), goal: { atMost: 5 } });
  await withPrograms(db, async ({ tenantry }) => {
    const app = await tenantry();
    note(`memory before: ${megabytes((await app.usage()).rss)} MB`);
    let peak = 0;
    const watch = setInterval(() => void app.usage().then(({ rss }) => (peak = Math.max(peak, rss))), 500);
    try {
      await load(app.url, '/v1/users/me', { milliseconds: UNDER_LOAD_MS, headers: bearer });
    } finally {
      clearInterval(watch);
    }
    verdict({ what: 'peak memory under load, MB', measured: megabytes(peak), goal: { atMost: 300 } });
  });
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e6);
}

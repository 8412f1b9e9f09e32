import { bearer, byItself, compete, load, type Result } from './support/contest.js';
import type { BenchDatabase } from './support/database.js';
import { withPrograms } from './support/program.js';
import { heading, note, table, verdict } from './support/report.js';

/** Drizzle's prepared statements, compared with hand-written ones, and whether they stay prepared. */
export async function statements(db: BenchDatabase): Promise<void> {
  heading('statements', 'reading a user through a prepared Drizzle query, against raw pg with a name, both on our pool');
  await withPrograms(db, async ({ operation, tenantry }) => {
    const results = await compete(db, [
      byItself('pg, named', await operation('handWrittenUser')),
      byItself('Drizzle, prepared', await operation('user')),
    ]);
    table(results);
    const [raw, ours] = results as [Result, Result];
    verdict({ what: 'rate ÷ raw pg', measured: ours.rateRatio, goal: { atLeast: 0.85 }, costs: [ours, raw] });

    const app = await tenantry();
    await load(app.url, '/v1/users/me', { milliseconds: 2000, headers: bearer });
    const before = (await app.usage()).parsed;
    const { answered } = await load(app.url, '/v1/users/me', { milliseconds: 3000, headers: bearer });
    const { parsed } = await app.usage();
    note(`${answered} signed-in reads; unnamed statements parsed meanwhile (jobs and outbox): ${parsed.unnamed - before.unnamed}`);
    verdict({ what: 'named statements parsed again', measured: parsed.named - before.named, goal: { atMost: 0 } });
  });
}

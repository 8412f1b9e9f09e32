import { byItself, compete, type Result } from './support/contest.js';
import type { BenchDatabase } from './support/database.js';
import { withPrograms } from './support/program.js';
import { heading, table, verdict } from './support/report.js';

/** Finds session and user of a token, without HTTP. */
export async function session(db: BenchDatabase): Promise<void> {
  heading('session', 'the session check, against one hand-written query and against Better Auth');
  await withPrograms(db, async ({ operation }) => {
    const results = await compete(db, [
      byItself('one hand-written query', await operation('handWrittenSession')),
      byItself('Tenantry: AccessRepository.findSession', await operation('session')),
      byItself('Better Auth: getSession', await operation('betterAuthSession')),
    ]);
    table(results);
    const [query, ours, theirs] = results as [Result, Result, Result];
    verdict({ what: 'CPU ÷ the hand-written query', measured: ours.cpuRatio, goal: { atMost: 1.2 }, costs: [ours, query] });
    verdict({ what: "rate ÷ Better Auth's", measured: ours.rateRatio / theirs.rateRatio, goal: { atLeast: 5 }, costs: [ours, theirs] });
  });
}

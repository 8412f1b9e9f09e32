import type { BenchDatabase } from './support/database.js';
import { compete, overHttp, type Result } from './support/contest.js';
import { withPrograms } from './support/program.js';
import { heading, table, verdict } from './support/report.js';

/** The cost of timing each request and each statement. */
export async function metrics(db: BenchDatabase): Promise<void> {
  heading('metrics', 'GET /v1/users/me, signed in, with and without the times of requests and statements');
  await withPrograms(db, async ({ tenantry }) => {
    const without = await tenantry({ preload: ['bench/variants/without-metrics.ts'], isBaseline: true });
    const contenders = [overHttp('without', without, '/v1/users/me'), overHttp('with metrics', await tenantry(), '/v1/users/me')];
    // Short and many, because the difference is smaller than the noise of a round.
    const results = await compete(db, contenders, { rounds: 40, roundMs: 1000 });
    table(results);
    const [plain, ours] = results as [Result, Result];
    verdict({ what: 'rate ÷ without metrics', measured: ours.rateRatio, goal: { atLeast: 0.97 }, costs: [ours, plain] });
  });
}

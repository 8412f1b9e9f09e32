import { compete, overHttp, type Result } from './support/contest.js';
import type { BenchDatabase } from './support/database.js';
import { withPrograms } from './support/program.js';
import { heading, table, verdict } from './support/report.js';

/** The cost of the framework and the checks without a handler. */
export async function pipeline(db: BenchDatabase): Promise<void> {
  heading('pipeline', 'a route without a database: ids, headers, CORS, input checks, guard, validation, log; against node:http');
  await withPrograms(db, async ({ variant, tenantry }) => {
    const app = await tenantry({ preload: ['bench/variants/ping.ts'] });
    const nobody = () => ({});
    const results = await compete(db, [
      overHttp('node:http, hello', await variant('hello'), '/', nobody),
      overHttp('Tenantry, a public route with a validated query', app, '/v1/ping?limit=25', nobody),
      overHttp('Tenantry, /health/live: no validation, no log', app, '/health/live', nobody),
    ]);
    table(results);
    // CPU, because the load generator limits the rate of node:http.
    const [hello, ping, live] = results as [Result, Result, Result];
    verdict({
      what: 'CPU of a public route with a validated query ÷ node:http',
      measured: ping.cpuRatio,
      goal: { atMost: 4.5 },
      costs: [ping, hello],
    });
    verdict({ what: 'CPU of /health/live ÷ node:http', measured: live.cpuRatio, goal: { atMost: 3.5 }, costs: [live, hello] });
  });
}

import { compete, overHttp } from './support/contest.js';
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
    const whole = results[1]!;
    // The load generator limits node:http, not the server, so CPU is a better measure: the worse of the two counts.
    const measured = Math.min(whole.rateRatio, 1 / whole.cpuRatio);
    verdict({ what: 'rate or CPU ÷ node:http, the worse', measured, goal: { atLeast: 0.25 } });
  });
}

import type { BenchDatabase } from './support/database.js';
import { compete, overHttp } from './support/contest.js';
import { withPrograms } from './support/program.js';
import { heading, table, verdict } from './support/report.js';
import { ORGANIZATION_ID } from './support/seed.js';

/** The same with a tenant: the role is read in the statement of the session. */
export async function tenant(db: BenchDatabase): Promise<void> {
  heading('tenant', 'GET /v1/organizations/{organizationId}, for a member, against the floor');
  const path = `/v1/organizations/${ORGANIZATION_ID}`;
  await withPrograms(db, async ({ variant, tenantry }) => {
    const results = await compete(db, [
      overHttp('floor: node:http, session and role in one statement', await variant('tenant-floor'), path),
      overHttp('Tenantry', await tenantry(), path),
    ]);
    table(results);
    verdict({ what: 'rate by the floor', measured: results[1]!.rateRatio, goal: { atLeast: 0.6 } });
  });
}

import type { BenchDatabase } from './support/database.js';
import { compete, overHttp, type Result } from './support/contest.js';
import { withPrograms } from './support/program.js';
import { heading, table, verdict } from './support/report.js';
import { ORGANIZATION_ID } from './support/seed.js';

/** A read in an organization: the role is read in the statement of the session. */
export async function tenant(db: BenchDatabase): Promise<void> {
  heading('tenant', 'GET /v1/organizations/{organizationId}, for a member, against the floor');
  const path = `/v1/organizations/${ORGANIZATION_ID}`;
  await withPrograms(db, async ({ variant, tenantry }) => {
    const results = await compete(db, [
      overHttp('floor: node:http, session and role in one statement', await variant('tenant-floor'), path),
      overHttp('Tenantry', await tenantry(), path),
    ]);
    table(results);
    const [floor, ours] = results as [Result, Result];
    verdict({ what: 'rate ÷ the floor', measured: ours.rateRatio, goal: { atLeast: 0.62 }, costs: [ours, floor] });
  });
}

/** The entitlements of an organization, compared with its plainest read: the difference is the cost of asking. */
export async function entitlements(db: BenchDatabase): Promise<void> {
  heading(
    'entitlements',
    'GET /v1/organizations/{organizationId}/subscription, for a member, against GET /v1/organizations/{organizationId}',
  );
  const path = `/v1/organizations/${ORGANIZATION_ID}`;
  await withPrograms(db, async ({ tenantry }) => {
    const app = await tenantry();
    const results = await compete(db, [overHttp('the organization', app, path), overHttp('what it may use', app, `${path}/subscription`)]);
    table(results);
    const [plain, ours] = results as [Result, Result];
    verdict({ what: "rate ÷ the organization's plain read", measured: ours.rateRatio, goal: { atLeast: 0.85 }, costs: [ours, plain] });
  });
}

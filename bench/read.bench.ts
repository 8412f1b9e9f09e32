import type { BenchDatabase } from './support/database.js';
import { compete, overHttp, type Result } from './support/contest.js';
import { options } from './support/options.js';
import { withPrograms } from './support/program.js';
import { heading, table, verdict } from './support/report.js';
import { bearerOf } from './support/seed.js';

/** The most frequent request: a read with a session. */
export async function read(db: BenchDatabase): Promise<void> {
  heading('read', 'GET /v1/users/me, signed in, everything on, against the floor and the typical stack');
  const cookie = (session: number) => ({ cookie: `better-auth.session_token=${encodeURIComponent(bearerOf(session))}` });
  await withPrograms(db, async ({ variant, tenantry }) => {
    const results = await compete(db, [
      overHttp('floor: node:http, two pipelined statements', await variant('floor'), '/v1/users/me'),
      overHttp('Tenantry', await tenantry(), '/v1/users/me'),
      ...(options.ci ? [] : [overHttp('typical: Nest, Better Auth, plain Drizzle', await variant('typical'), '/v1/users/me', cookie)]),
    ]);
    table(results);
    const [floor, ours, theirs] = results as [Result, Result, Result | undefined];
    verdict({ what: 'rate ÷ the floor', measured: ours.rateRatio, goal: { atLeast: 0.65 }, ci: { atLeast: 0.3 }, costs: [ours, floor] });
    if (theirs !== undefined) {
      const measured = ours.rateRatio / theirs.rateRatio;
      verdict({ what: 'rate ÷ the typical stack', measured, goal: { atLeast: 5.5 }, costs: [ours, theirs] });
    }
  });
}

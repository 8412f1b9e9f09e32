import type { BenchDatabase } from './support/database.js';
import { bearer, compete, overHttp, type Result } from './support/contest.js';
import { withPrograms } from './support/program.js';
import { heading, table, verdict } from './support/report.js';
import { ORGANIZATION_ID } from './support/seed.js';

const DEEP = 399;

/** A late page of a list, compared with its first page. */
export async function lists(db: BenchDatabase): Promise<void> {
  heading('lists', 'the members of one organization of 10,000, 25 a page: page 1 against page 400');
  await withPrograms(db, async ({ tenantry }) => {
    const program = await tenantry();
    for (const sort of ['joined', 'name']) {
      const start = `/v1/organizations/${ORGANIZATION_ID}/memberships?limit=25&sort=${sort}`;
      let path = start;
      for (let page = 1; page <= DEEP; page += 1) path = `${start}&cursor=${await nextCursor(program.url + path)}`;
      const results = await compete(db, [
        overHttp(`page 1 by ${sort}`, program, start),
        overHttp(`page ${DEEP + 1} by ${sort}`, program, path),
      ]);
      table(results);
      const [first, late] = results as [Result, Result];
      verdict({
        what: `rate of page ${DEEP + 1} ÷ page 1, by ${sort}`,
        measured: late.rateRatio,
        goal: { atLeast: 0.6 },
        costs: [late, first],
      });
    }
  });
}

async function nextCursor(url: string): Promise<string> {
  const answer = await fetch(url, { headers: bearer(0) });
  const { nextCursor: cursor } = (await answer.json()) as { nextCursor: string | null };
  if (cursor === null) throw new Error(`The list ends at ${url}`);
  return cursor;
}

import { inEach, type BenchDatabase } from './support/database.js';
import { bearer, median } from './support/contest.js';
import { type Program, withPrograms } from './support/program.js';
import { heading, note, verdict } from './support/report.js';
import { ORGANIZATION_ID, userIdOf } from './support/seed.js';

const EVENTS = Number(process.env['EVENTS'] ?? 500_000);
const USERS = 900;
const MODELS = 5;
const READS = 15;

/** A year with so many hours, users and models that nearly each event has a rollup of its own. */
const SEED = `
  INSERT INTO usage_rollups (owner_id, hour, model, actor_user_id, events, input_tokens, output_tokens, tokens_used)
  SELECT '${ORGANIZATION_ID}'::uuid, hour, 'model-' || model, ('${userIdOf(0).slice(0, 24)}' || lpad(person::text, 12, '0'))::uuid, count(*), sum(10), sum(5), sum(15)
    FROM (SELECT date_trunc('hour', now() - n * interval '365 days' / ${EVENTS}, 'UTC') AS hour, abs(hashint8extended(n, 2) % ${MODELS}) AS model,
                 abs(hashint8extended(n, 1) % ${USERS}) AS person FROM generate_series(0, ${EVENTS - 1}) n) e
   GROUP BY 1, 2, 3, 4`;

/** Summaries of a year with many rollups of one owner, one after the other. */
export async function summaries(db: BenchDatabase): Promise<void> {
  heading('usage-summaries', `GET …/usage/summary of a year of one organization: ${EVENTS.toLocaleString('en')} events of ${USERS} users`);
  await inEach(db, SEED);
  await inEach(db, 'VACUUM ANALYZE');
  const day = (moment: number) => new Date(moment).toISOString().slice(0, 10);
  const range = `from=${day(Date.now() - 364 * 86_400_000)}&to=${day(Date.now() + 86_400_000)}`;
  await withPrograms(db, async ({ tenantry }) => {
    const program = await tenantry();
    for (const grouping of ['groupBy=day', 'groupBy=day&timeZone=Asia/Kolkata', 'groupBy=model&cost=true', 'groupBy=user']) {
      const path = `/v1/organizations/${ORGANIZATION_ID}/usage/summary?${range}&${grouping}`;
      const before = program.before && (await medianOf(program.before, path));
      const measured = await medianOf(program, path);
      verdict({ what: `milliseconds of ?${grouping}`, measured, goal: { atMost: 100 } });
      if (before !== undefined) note(`${before.toFixed(0)} ms in the other build`);
    }
  });
}

async function medianOf(program: Program, path: string): Promise<number> {
  const times: number[] = [];
  for (let read = 0; read < READS; read += 1) {
    const started = performance.now();
    const answer = await fetch(program.url + path, { headers: bearer(0) });
    await answer.arrayBuffer();
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status}`);
    times.push(performance.now() - started);
  }
  return median(times);
}

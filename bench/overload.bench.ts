import { bearer, sendLoad, CONNECTIONS, median } from './support/contest.js';
import type { BenchDatabase } from './support/database.js';
import { type Program, withPrograms } from './support/program.js';
import { heading, note, verdict } from './support/report.js';

const ROUNDS = 3;
const ROUND_MS = 4000;
/** Callers give up after this time, so a later response does not count. */
const PATIENCE_SECONDS = 2;

/** Three times the load that it can carry, at a steady rate. */
export async function overload(db: BenchDatabase): Promise<void> {
  heading('overload', `signed-in reads offered at three times the measured peak; an answer counts within ${PATIENCE_SECONDS} s`);
  await withPrograms(db, async ({ tenantry }) => {
    const app = await tenantry();
    await flood(app, CONNECTIONS);
    const before = (await app.usage()).rss;
    const rounds: { ratio: number; lost: number; refusalP99: number }[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const peak = await flood(app, CONNECTIONS);
      const flooded = await flood(app, 12 * CONNECTIONS, peak.good * 3);
      rounds.push({ ratio: flooded.good / peak.good, lost: flooded.lost, refusalP99: flooded.refusalP99 });
      note(
        `peak ${peak.good.toFixed(0)}/s; offered ${(peak.good * 3).toFixed(0)}/s: good ${flooded.good.toFixed(0)}/s, ` +
          `refused ${flooded.refused.toFixed(0)}/s, p50 ${flooded.refusalP50.toFixed(0)} ms, p99 ${flooded.refusalP99.toFixed(0)} ms, ` +
          `lost ${flooded.lost}, p99 of all ${flooded.p99} ms`,
      );
    }
    const after = (await app.usage()).rss;
    verdict({ what: 'goodput ÷ peak', measured: median(rounds.map(({ ratio }) => ratio)), goal: { atLeast: 0.95 } });
    verdict({ what: 'neither answered nor refused', measured: rounds.reduce((sum, { lost }) => sum + lost, 0), goal: { atMost: 0 } });
    const refusalP99 = median(rounds.map((round) => round.refusalP99));
    verdict({ what: 'p99 of a refusal, ms', measured: refusalP99, goal: { atMost: 50 } });
    verdict({ what: 'memory after ÷ before', measured: after / before, goal: { atMost: 1.3 } });
  });
}

async function flood(app: Program, connections: number, rate?: number) {
  const refusals: number[] = [];
  const result = await sendLoad(app.url, '/v1/users/me', {
    milliseconds: ROUND_MS,
    headers: bearer,
    connections,
    patienceSeconds: PATIENCE_SECONDS,
    onResponse: (status, milliseconds) => status === 503 && refusals.push(milliseconds),
    ...(rate !== undefined && { rate: Math.round(rate) }),
  });
  const sorted = refusals.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? 0;
  return {
    good: result['2xx'] / result.duration,
    refused: refusals.length / result.duration,
    refusalP50: at(0.5),
    refusalP99: at(0.99),
    lost: result.non2xx - refusals.length + result.errors,
    p99: result.latency.p99,
  };
}

import { bearer, compareWithBefore, load, median, type Sample } from './support/contest.js';
import type { BenchDatabase } from './support/database.js';
import { type Program, withPrograms } from './support/program.js';
import { heading, note, verdict } from './support/report.js';

const RATE = 600;
const CONNECTIONS = 48;
const ROUNDS = 5;
const ROUND_MS = 3000;

/** The cost of three processes, which share no state in memory. */
export async function replicas(db: BenchDatabase): Promise<void> {
  heading('replicas', `${RATE} signed-in reads a second over ${CONNECTIONS} connections, to one process and to three`);
  await withPrograms(db, async ({ tenantry }) => {
    const alone = [await tenantry()];
    const three = [await tenantry(), await tenantry(), await tenantry()];
    const rounds: [number, number][] = [];
    const compared: [Sample, Sample][] = [];
    const sampleOf = (cpu: number): Sample => ({ perSecond: RATE, cpu });
    for (let round = -1; round < ROUNDS; round += 1) {
      const costs: [number, number] = [await cost(alone), await cost(three)];
      if (round >= 0) rounds.push(costs);
      if (round >= 0 && three[0]!.before !== undefined)
        compared.push([sampleOf(costs[1]), sampleOf(await cost(three.map(({ before }) => before!)))]);
    }
    if (compared.length > 0) compareWithBefore('three processes', compared);
    note(
      `CPU us a request: one process ${median(rounds.map(([one]) => one)).toFixed(0)}, three ${median(rounds.map(([, many]) => many)).toFixed(0)}`,
    );
    verdict({ what: 'CPU of three ÷ one', measured: median(rounds.map(([one, many]) => many / one)), goal: { atMost: 1.15 } });
  });
}

/** CPU microseconds per request, over all processes. */
async function cost(programs: Program[]): Promise<number> {
  const share = { milliseconds: ROUND_MS, headers: bearer, connections: CONNECTIONS / programs.length, rate: RATE / programs.length };
  const cpu = async () => (await Promise.all(programs.map((program) => program.usage()))).reduce((sum, usage) => sum + usage.cpu, 0);
  const before = await cpu();
  const loads = await Promise.all(programs.map((program) => load(program.url, '/v1/users/me', share)));
  return ((await cpu()) - before) / loads.reduce((sum, { answered }) => sum + answered, 0);
}

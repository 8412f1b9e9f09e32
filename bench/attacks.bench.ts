import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { bearer, median } from './support/contest.js';
import type { BenchDatabase } from './support/database.js';
import { type Program, type Starter, withPrograms } from './support/program.js';
import { heading, note, verdict } from './support/report.js';
import { WEBHOOK_KEY } from './support/seed.js';

const ROUNDS = 3;
const ROUND_MS = 5000;
/** Reads per second of other callers. */
const RATE = 50;
const METRICS_TOKEN = 'a token for the metrics';

interface Sample {
  p50: number;
  p99: number;
  notServed: number;
  /** Delay of the event loop; it is measured every 100 ms, so 100 ms means no delay. */
  loopP99: number;
  megabytes: number;
}

/** The effect of an attack on other callers; calm and attacked rounds alternate. */
export async function attacks(db: BenchDatabase): Promise<void> {
  heading('attacks', `signed-in reads of other callers, ${RATE} a second, without and with an attack in the same run`);
  for (const attack of ['slow', 'bombs', 'forged'] as const) {
    await withPrograms(db, async (start) => {
      const app = await start.tenantry({
        environment: { METRICS_TOKEN, RATE_LIMIT_AUTH: '60/60', CLERK_WEBHOOK_SIGNING_SECRET: `whsec_${WEBHOOK_KEY.toString('base64')}` },
      });
      await sample(app);
      const rounds: { calm: Sample; attacked: Sample }[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const calm = await sample(app);
        rounds.push({ calm, attacked: await underAttack(start, app, attack) });
      }
      for (const name of ['calm', 'attacked'] as const) note(`${attack}, ${name}: ${describe(rounds.map((round) => round[name]))}`);
      const ratio = median(rounds.map(({ calm, attacked }) => attacked.p50 / calm.p50));
      const notServed = rounds.reduce((sum, { attacked }) => sum + attacked.notServed, 0);
      verdict({ what: `${attack}, p50 of others ÷ without the attack`, measured: ratio, goal: { atMost: 2 } });
      verdict({ what: `${attack}, others not served`, measured: notServed, goal: { atMost: 0 } });
    });
  }
}

async function underAttack(start: Starter, app: Program, attack: string): Promise<Sample> {
  const attacker = await start.variant('attacker', { url: app.url, attack });
  // Wait until the limits are reached.
  await sleep(2000);
  const taken = await sample(app);
  attacker.child.send({ ask: 'answers' });
  const [answers] = (await once(attacker.child, 'message')) as [Record<number, number>];
  note(`${attack}: the attacker's answers by status: ${JSON.stringify(answers)}`);
  await attacker.stop();
  await sleep(1000);
  return taken;
}

async function sample(app: Program): Promise<Sample> {
  await metrics(app);
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  const calls: Promise<number | undefined>[] = [];
  for (const from = performance.now(); performance.now() - from < ROUND_MS; await sleep(1000 / RATE))
    calls.push(read(app, agent, calls.length));
  const times = await Promise.all(calls);
  agent.destroy();
  const served = times.filter((time) => time !== undefined).toSorted((a, b) => a - b);
  const { lag, bytes } = await metrics(app);
  return {
    p50: median(served),
    p99: served[Math.floor(served.length * 0.99)]!,
    notServed: times.length - served.length,
    loopP99: lag * 1000,
    megabytes: bytes / 1e6,
  };
}

/** The response time; undefined for a status other than 200. */
function read(app: Program, agent: Agent, session: number): Promise<number | undefined> {
  const from = performance.now();
  return new Promise((resolve) => {
    const call = get(`${app.url}/v1/users/me`, { agent, headers: bearer(session) }, (response) => {
      response.resume();
      response.once('close', () => resolve(response.statusCode === 200 && response.complete ? performance.now() - from : undefined));
    });
    call.once('error', () => resolve(undefined));
  });
}

/** Reading the metrics starts a new measurement of the event loop. They query the database, so a starved machine may need a second try. */
async function metrics(app: Program, tries = 5): Promise<{ lag: number; bytes: number }> {
  const answer = await fetch(`${app.url}/metrics`, { headers: { authorization: `Bearer ${METRICS_TOKEN}` } });
  const text = await answer.text();
  if (answer.status === 503 && tries > 0) return metrics(app, tries - 1);
  const value = (name: string) => Number(new RegExp(`^${name} (.+)$`, 'm').exec(text)![1]);
  return { lag: value('nodejs_eventloop_lag_p99_seconds'), bytes: value('process_resident_memory_bytes') };
}

function describe(samples: Sample[]): string {
  const middle = (key: keyof Sample) => median(samples.map((one) => one[key]));
  return (
    `p50 ${middle('p50').toFixed(1)} ms, p99 ${middle('p99').toFixed(1)} ms, ` +
    `event loop p99 ${middle('loopP99').toFixed(0)} ms, ${Math.max(...samples.map(({ megabytes }) => megabytes)).toFixed(0)} MB`
  );
}

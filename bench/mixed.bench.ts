import { setTimeout as sleep } from 'node:timers/promises';
import { bearer, median, type Path, sendLoad } from './support/contest.js';
import type { BenchDatabase } from './support/database.js';
import { type Program, withPrograms } from './support/program.js';
import { heading, note, verdict } from './support/report.js';
import { ORGANIZATION_ID } from './support/seed.js';
import { batch, one, ownUsage, seedTenants, tenantry } from './usage.bench.js';
import { CLERK_SECRET, sendClerkEvents } from './webhooks.bench.js';

/** MINUTES in the environment changes it. */
const MINUTES = Number(process.env['MINUTES'] ?? 10);
const SAMPLE_MS = 1000;
const PART_SECONDS = 10;

interface Part {
  path: Path;
  connections: number;
  body?: () => string;
  /** Requests a second; without it, as many as possible. */
  rate?: number;
}

const PARTS: Part[] = [
  { path: '/v1/users/me', connections: 32 },
  { path: `/v1/organizations/${ORGANIZATION_ID}`, connections: 8 },
  { path: `/v1/organizations/${ORGANIZATION_ID}/subscription`, connections: 8 },
  { path: `/v1/organizations/${ORGANIZATION_ID}/memberships?limit=25`, connections: 4 },
  { path: ownUsage, connections: 8, body: one },
  { path: (session) => `${ownUsage(session)}/batch`, connections: 10, body: batch, rate: 20 },
];

/** Memory while everything runs at the same time: reads as fast as they are answered, usage, batches and webhooks. */
export async function mixed(db: BenchDatabase): Promise<void> {
  heading('mixed', `memory under reads, usage and webhooks at the same time, for ${MINUTES} minutes (MINUTES)`);
  await seedTenants(db);
  await withPrograms(db, async (start) => {
    const app = await tenantry(start, db, { environment: CLERK_SECRET });
    const until = performance.now() + MINUTES * 60_000;
    const isOver = () => performance.now() >= until;
    const memory: number[] = [];
    const watch = async () => {
      for (; !isOver(); await sleep(SAMPLE_MS)) memory.push((await app.usage()).rss / 1e6);
    };
    const failures = { count: 0 };
    await Promise.all([watch(), deliverEvents(app, isOver), ...PARTS.map((part) => repeat(app, part, isOver, failures))]);
    const third = Math.floor(memory.length / 3);
    const [early, late] = [memory.slice(third, -third), memory.slice(-third)].map(median) as [number, number];
    note(`memory: first third ${median(memory.slice(0, third)).toFixed(0)} MB, second ${early.toFixed(0)} MB, last ${late.toFixed(0)} MB`);
    verdict({ what: 'peak memory, MB', measured: Math.max(...memory), goal: { atMost: 350 } });
    verdict({ what: 'memory of the last third ÷ the second', measured: late / early, goal: { atMost: 1.05 } });
    verdict({ what: 'requests that failed', measured: failures.count, goal: { atMost: 0 } });
  });
}

async function deliverEvents(app: Program, isOver: () => boolean): Promise<void> {
  for (let part = 0; !isOver(); part += 1) await sendClerkEvents(app, `mixed${part}`, PART_SECONDS);
}

async function repeat(app: Program, { path, ...part }: Part, isOver: () => boolean, failures: { count: number }): Promise<void> {
  while (!isOver()) {
    const { non2xx, errors } = await sendLoad(app.url, path, { ...part, milliseconds: PART_SECONDS * 1000, headers: bearer });
    failures.count += non2xx + errors;
  }
}

import { Seeded } from '../../simulators/seeded.js';
import type { TestDatabase } from '../database.js';
import { wrongWith } from './checks.js';
import { FuzzDocument } from './document.js';
import { endFuzz, type FuzzAnswer, type FuzzRequest, FuzzRequests, sendFuzz } from './requests.js';
import { FuzzWorld } from './world.js';

/** How many requests share a tenant: enough to meet what earlier ones left behind. */
const REQUESTS_A_WORLD = 100;

export interface FuzzOptions {
  url: string;
  db: TestDatabase;
  seed: string;
  requests: number;
}

export interface FuzzOutcome {
  /** What is wrong, with the first request that showed it, and how many did. */
  failures: string[];
  /** Statuses that were answered, by operation. */
  answered: Map<string, Set<number>>;
}

/** Sends requests made of a seed to every operation under every role, and looks at each answer. */
export async function fuzz({ url, db, seed, requests }: FuzzOptions): Promise<FuzzOutcome> {
  const document = await FuzzDocument.read(url);
  const failures = new Map<string, { count: number; first: string }>();
  const answered = new Map<string, Set<number>>();
  for (let index = 0; index < requests;) {
    // Each world has a seed of its own: a failure can be repeated without those before.
    const made = new FuzzRequests(new Seeded(`${seed}-${index}`), document);
    const world = await FuzzWorld.create(db);
    for (let count = 0; count < REQUESTS_A_WORLD && index < requests; count += 1, index += 1) {
      const request = made.next(world);
      const answer = await sendFuzz(url, request);
      const { id } = request.operation;
      answered.set(id, (answered.get(id) ?? new Set()).add(answer.status));
      for (const wrong of wrongWith(document, request, answer)) {
        const key = `${id}: ${wrong}`;
        const known = failures.get(key) ?? { count: 0, first: storyOf(index, request, answer) };
        failures.set(key, { ...known, count: known.count + 1 });
      }
    }
  }
  endFuzz();
  return { failures: [...failures].map(([what, { count, first }]) => `${what} (${count} times)\n${first}`), answered };
}

function storyOf(index: number, { role, method, target, headers, body }: FuzzRequest, answer: FuzzAnswer): string {
  const cut = (text: string) => (text.length > 600 ? `${text.slice(0, 600)}…` : text);
  const shown = headers.filter(([name]) => !['authorization', 'x-api-key', 'cookie'].includes(name));
  return [
    `    #${index} ${role}: ${method} ${cut(target)} ${JSON.stringify(shown)}`,
    `    ${cut(body?.toString() ?? '(no body)')}`,
    `    ${answer.status} ${cut(answer.body.toString())}`,
  ].join('\n');
}

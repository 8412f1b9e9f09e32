import { Seeded } from '../../simulators/seeded.js';
import type { TestDatabase } from '../database.js';
import { errorsIn } from './checks.js';
import { FuzzDocument } from './document.js';
import { endFuzz, type FuzzAnswer, type FuzzRequest, FuzzRequests, sendFuzz } from './requests.js';
import { FuzzWorld } from './world.js';

/** Requests that share a tenant, enough to meet rows of earlier ones. */
const REQUESTS_A_WORLD = 100;

export interface FuzzOptions {
  url: string;
  db: TestDatabase;
  seed: string;
  requests: number;
}

export interface FuzzOutcome {
  /** The failures, each with its first request and its count. */
  failures: string[];
  /** The received statuses by operation. */
  statuses: Map<string, Set<number>>;
}

/** Sends requests generated from a seed to every operation in every role, and checks each response. */
export async function fuzz({ url, db, seed, requests }: FuzzOptions): Promise<FuzzOutcome> {
  const document = await FuzzDocument.read(url);
  const failures = new Map<string, { count: number; first: string }>();
  const statuses = new Map<string, Set<number>>();
  for (let index = 0; index < requests;) {
    // Each world has its own seed, so that a failure can be repeated without the worlds before it.
    const made = new FuzzRequests(new Seeded(`${seed}-${index}`), document);
    const world = await FuzzWorld.create(db);
    for (let count = 0; count < REQUESTS_A_WORLD && index < requests; count += 1, index += 1) {
      const request = made.next(world);
      const answer = await sendFuzz(url, request);
      const { id } = request.operation;
      statuses.set(id, (statuses.get(id) ?? new Set()).add(answer.status));
      for (const wrong of errorsIn(document, request, answer)) {
        const key = `${id}: ${wrong}`;
        const known = failures.get(key) ?? { count: 0, first: describeFailure(index, request, answer) };
        failures.set(key, { ...known, count: known.count + 1 });
      }
    }
  }
  endFuzz();
  return { failures: [...failures].map(([what, { count, first }]) => `${what} (${count} times)\n${first}`), statuses };
}

function describeFailure(index: number, { role, method, target, headers, body }: FuzzRequest, answer: FuzzAnswer): string {
  const cut = (text: string) => (text.length > 600 ? `${text.slice(0, 600)}…` : text);
  const shown = headers.filter(([name]) => !['authorization', 'x-api-key', 'cookie'].includes(name));
  return [
    `    #${index} ${role}: ${method} ${cut(target)} ${JSON.stringify(shown)}`,
    `    ${cut(body?.toString() ?? '(no body)')}`,
    `    ${answer.status} ${cut(answer.body.toString())}`,
  ].join('\n');
}

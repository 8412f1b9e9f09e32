import { setTimeout as sleep } from 'node:timers/promises';
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
  /** The run ends after this many requests, or after this time. */
  requests?: number;
  minutes?: number;
  /** How long the event loop of the program was held since the last call, in milliseconds. */
  holds?: () => number[];
}

export interface FuzzOutcome {
  /** The failures, each with its first request and its count. */
  failures: string[];
  /** The received statuses by operation. */
  statuses: Map<string, Set<number>>;
  requests: number;
  operations: number;
  /** The operations with the roles that called them. */
  pairs: Set<string>;
  /** In milliseconds; only holds above the bound are measured. */
  longestHold: number;
}

/** Sends requests generated from a seed to every operation in every role, and checks each response. */
export async function fuzz({ url, db, seed, requests = Infinity, minutes = Infinity, holds }: FuzzOptions): Promise<FuzzOutcome> {
  const document = await FuzzDocument.read(url);
  const failures = new Map<string, { count: number; first: string }>();
  const seen = { statuses: new Map<string, Set<number>>(), pairs: new Set<string>(), longestHold: 0 };
  const end = Date.now() + minutes * 60_000;
  // The first request for the document builds it, which is reported a moment later.
  await sleep(200);
  holds?.();
  const isOver = (index: number) => index >= requests || Date.now() >= end;
  let index = 0;
  let wasCold = false;
  while (!isOver(index)) {
    // Each world has its own seed, so that a failure can be repeated without the worlds before it.
    const made = new FuzzRequests(new Seeded(`${seed}-${index}`), document);
    const world = await FuzzWorld.create(db);
    for (let count = 0; count < REQUESTS_A_WORLD && !isOver(index); count += 1, index += 1) {
      const request = made.next(world);
      const answer = await sendFuzz(url, request);
      const { id } = request.operation;
      // The first call of an operation compiles its code, and an answer may come before the end of its work.
      const isWarm = seen.statuses.has(id) && !wasCold;
      wasCold = !seen.statuses.has(id);
      seen.statuses.set(id, (seen.statuses.get(id) ?? new Set()).add(answer.status));
      seen.pairs.add(`${id} ${request.role}`);
      const held = holds?.() ?? [];
      seen.longestHold = Math.max(seen.longestHold, ...held);
      const heldTooLong = held.length === 0 || !isWarm ? [] : ['this request, or the one before it, held the event loop'];
      for (const wrong of [...errorsIn(document, request, answer), ...heldTooLong]) {
        const key = `${id}: ${wrong}`;
        const known = failures.get(key) ?? { count: 0, first: describeFailure(index, request, answer) };
        failures.set(key, { ...known, count: known.count + 1 });
      }
    }
  }
  endFuzz();
  const described = [...failures].map(([what, { count, first }]) => `${what} (${count} times)\n${first}`);
  return { ...seen, failures: described, requests: index, operations: document.operations.length };
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

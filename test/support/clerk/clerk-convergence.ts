import type { HistoryEvent } from '../../simulators/clerk-instance.js';
import { deliverInTurn, givenUp, pour, settled, type Target } from './clerk-deliveries.js';
import { type Choices, choicesArbitrary, type History, type HistoryOptions, shuffled, tell } from './clerk-histories.js';
import { readRows, type Rows, writeBefore } from './clerk-rows.js';
import { differences, expectAll, mixed, newPrefix } from '../convergence.js';
import { againstTruth, isWithoutReturn, truthOf } from './clerk-truth.js';

/** A history and the order in which the other database is told of it. */
export interface Telling {
  history: History;
  deliveries: HistoryEvent[];
}

export interface Proof {
  /** Told in order, one event after the other. */
  inOrder: Target;
  /** Told otherwise. */
  otherwise: Target;
  /** How the other database is told; poured out by default. */
  tellThem?: (tellings: Telling[]) => Promise<void>;
  /** What happens to both at the end. */
  atTheEnd?: (target: Target) => Promise<void>;
  /** What of the rows must be equal. */
  compared?: (rows: Rows) => Rows;
}

/** Holds if all these histories end in the same rows in both databases. */
export async function expectConvergence(proof: Proof, { runs, ...options }: HistoryOptions & { runs: number }): Promise<void> {
  await expectAll(choicesArbitrary(options), async (all) => failures(proof, all), runs);
}

/** What these choices make happen, each with a prefix of its own. */
function tellingsOf(all: Choices[]): Telling[] {
  return all.map((choices) => {
    const history = tell(choices, newPrefix());
    return { history, deliveries: shuffled(history.events, choices) };
  });
}

/** Which of these end differently, and how. */
async function failures(proof: Proof, all: Choices[]): Promise<Map<number, string>> {
  const { inOrder, otherwise, atTheEnd, compared } = proof;
  const tellings = tellingsOf(all);
  const [wanted, found] = await Promise.all([
    tellInOrder(inOrder, tellings, atTheEnd),
    tellOtherwise(otherwise, tellings, proof.tellThem, atTheEnd),
  ]);
  return compare(tellings, wanted, found, compared);
}

export async function tellInOrder(target: Target, tellings: Telling[], atTheEnd?: Proof['atTheEnd']): Promise<Map<string, Rows>> {
  const histories = tellings.map(({ history }) => history);
  return told(target, histories, async () => {
    await deliverInTurn(target, histories);
    await atTheEnd?.(target);
  });
}

export async function tellOtherwise(
  target: Target,
  tellings: Telling[],
  tellThem: Proof['tellThem'] = async () => pour(target, mixed(tellings.map(({ deliveries }) => deliveries))),
  atTheEnd?: Proof['atTheEnd'],
): Promise<Map<string, Rows>> {
  const histories = tellings.map(({ history }) => history);
  return told(target, histories, async () => {
    await tellThem(tellings);
    await settled(target);
    await atTheEnd?.(target);
  });
}

async function told(target: Target, histories: History[], tellThem: () => Promise<void>): Promise<Map<string, Rows>> {
  await writeBefore(target.db, histories);
  await tellThem();
  expect(await givenUp(target)).toEqual([]);
  return readRows(target.db, histories);
}

/** Which histories ended differently, and how; also where they did not end as Clerk has it. */
export function compare(
  tellings: Telling[],
  wanted: Map<string, Rows>,
  found: Map<string, Rows>,
  compared?: (rows: Rows) => Rows,
): Map<number, string> {
  const failed = new Map<number, string>();
  for (const [index, { history, deliveries }] of tellings.entries()) {
    const [right, other] = [wanted, found].map((all) => (compared ?? ((rows) => rows))(all.get(history.prefix)!));
    // What was purged is no longer as Clerk has it.
    const truth = compared === undefined ? truthOf(history) : undefined;
    if (isWithoutReturn(history)) {
      right!.locals = other!.locals = {};
      if (truth !== undefined) truth.locals = {};
    }
    const wrong = [
      ...differences(right!, other!),
      ...(truth === undefined ? [] : againstTruth(right!, truth).map((line) => `Not as at Clerk: ${line}`)),
    ];
    if (wrong.length > 0) failed.set(index, story(history, deliveries, wrong));
  }
  return failed;
}

function story({ events, locals, met, localSlug }: History, deliveries: HistoryEvent[], wrong: string[]): string {
  const tale = events.map(({ type, messageId, body }) => `  ${messageId} ${type} ${gist(body)}`);
  const before = [...locals, ...met, ...(localSlug === undefined ? [] : [{ localSlug }])].map((one) => `  ${JSON.stringify(one)}`);
  const order = deliveries.map(({ messageId }) => messageId).join(' ');
  return [...wrong, 'Before:', ...before, 'Events:', ...tale, `Delivered: ${order}`].join('\n');
}

/** What a person wants to see of a payload. */
function gist(body: string): string {
  const { timestamp, data } = JSON.parse(body) as { timestamp: number; data: Record<string, unknown> };
  const { id, updated_at, created_at, role, status, slug, email_address, organization_id } = data;
  const addresses = (data['email_addresses'] as { id: string; email_address: string; verification: unknown }[] | undefined) ?? [];
  const primary = addresses.find((one) => one.id === data['primary_email_address_id']);
  const organization = (data['organization'] as { id: string } | undefined)?.id;
  const user = (data['public_user_data'] as { user_id: string } | undefined)?.user_id ?? data['user_id'];
  const email = primary && `${primary.email_address} ${primary.verification === null ? 'unverified' : 'verified'}`;
  return JSON.stringify({
    id,
    timestamp,
    updated_at,
    created_at,
    role,
    status,
    slug,
    email,
    email_address,
    organization_id,
    organization,
    user,
  });
}

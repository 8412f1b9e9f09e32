import type { HistoryEvent } from '../../simulators/clerk-instance.js';
import { deliverInTurn, failedEvents, deliverConcurrently, untilProcessed, type Target } from './clerk-deliveries.js';
import { type Choices, choicesArbitrary, type History, type HistoryOptions, shuffled, historyFrom } from './clerk-histories.js';
import { readRows, type Rows, writeInitialRows } from './clerk-rows.js';
import { differences, expectHistories, interleave, newPrefix } from '../convergence.js';
import { mismatches, hasOrderDependentLocals, expectedRowsOf } from './clerk-expected-rows.js';

/** A history, and the order in which its events are delivered. */
export interface DeliveryPlan {
  history: History;
  deliveries: HistoryEvent[];
}

export interface Proof {
  /** Receives the events in order, one after the other. */
  inOrder: Target;
  /** Receives them in another order. */
  reordered: Target;
  /** How the reordered events are delivered; by default concurrently. */
  deliverAll?: (plans: DeliveryPlan[]) => Promise<void>;
  /** Runs on both databases at the end. */
  finish?: (target: Target) => Promise<void>;
  /** Selects the part of the rows that must be equal. */
  select?: (rows: Rows) => Rows;
}

/** Expects that all these histories produce the same rows in both databases. */
export async function expectConvergence(proof: Proof, { runs, ...options }: HistoryOptions & { runs: number }): Promise<void> {
  await expectHistories(choicesArbitrary(options), async (all) => failures(proof, all), runs);
}

/** The histories that follow from these choices, each with its own prefix. */
function plansOf(all: Choices[]): DeliveryPlan[] {
  return all.map((choices) => {
    const history = historyFrom(choices, newPrefix());
    return { history, deliveries: shuffled(history.events, choices) };
  });
}

/** The histories that end differently, each with its differences. */
async function failures(proof: Proof, all: Choices[]): Promise<Map<number, string>> {
  const { inOrder, reordered, finish, select } = proof;
  const plans = plansOf(all);
  const [wanted, found] = await Promise.all([
    rowsInOrderAt(inOrder, plans, finish),
    rowsReorderedAt(reordered, plans, proof.deliverAll, finish),
  ]);
  return compare(plans, wanted, found, select);
}

export async function rowsInOrderAt(target: Target, plans: DeliveryPlan[], finish?: Proof['finish']): Promise<Map<string, Rows>> {
  const histories = plans.map(({ history }) => history);
  return rowsAfter(target, histories, async () => {
    await deliverInTurn(target, histories);
    await finish?.(target);
  });
}

export async function rowsReorderedAt(
  target: Target,
  plans: DeliveryPlan[],
  deliverAll: Proof['deliverAll'] = async () => deliverConcurrently(target, interleave(plans.map(({ deliveries }) => deliveries))),
  finish?: Proof['finish'],
): Promise<Map<string, Rows>> {
  const histories = plans.map(({ history }) => history);
  return rowsAfter(target, histories, async () => {
    await deliverAll(plans);
    await untilProcessed(target);
    await finish?.(target);
  });
}

async function rowsAfter(target: Target, histories: History[], deliverAll: () => Promise<void>): Promise<Map<string, Rows>> {
  await writeInitialRows(target.db, histories);
  await deliverAll();
  expect(await failedEvents(target)).toEqual([]);
  return readRows(target.db, histories);
}

/** The histories that end differently or not as in Clerk, each with its differences. */
export function compare(
  plans: DeliveryPlan[],
  wanted: Map<string, Rows>,
  found: Map<string, Rows>,
  select?: (rows: Rows) => Rows,
): Map<number, string> {
  const failed = new Map<number, string>();
  for (const [index, { history, deliveries }] of plans.entries()) {
    const [rowsInOrder, rowsReordered] = [wanted, found].map((all) => (select ?? ((rows) => rows))(all.get(history.prefix)!));
    // Purged rows differ from Clerk's state.
    const expected = select === undefined ? expectedRowsOf(history) : undefined;
    if (hasOrderDependentLocals(history)) {
      rowsInOrder!.locals = rowsReordered!.locals = {};
      if (expected !== undefined) expected.locals = {};
    }
    const wrong = [
      ...differences(rowsInOrder!, rowsReordered!),
      ...(expected === undefined ? [] : mismatches(rowsInOrder!, expected).map((line) => `Not as at Clerk: ${line}`)),
    ];
    if (wrong.length > 0) failed.set(index, describeFailure(history, deliveries, wrong));
  }
  return failed;
}

function describeFailure({ events, locals, signedIn, localSlug }: History, deliveries: HistoryEvent[], wrong: string[]): string {
  const eventLines = events.map(({ type, messageId, body }) => `  ${messageId} ${type} ${summaryOf(body)}`);
  const before = [...locals, ...signedIn, ...(localSlug === undefined ? [] : [{ localSlug }])].map((one) => `  ${JSON.stringify(one)}`);
  const order = deliveries.map(({ messageId }) => messageId).join(' ');
  return [...wrong, 'Before:', ...before, 'Events:', ...eventLines, `Delivered: ${order}`].join('\n');
}

/** The fields of a payload that help to read a failure. */
function summaryOf(body: string): string {
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

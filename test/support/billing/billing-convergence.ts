import { testEnvironment } from '../app.js';
import { startBillingApis } from './billing-apis.js';
import { type Effective, readEffective } from './billing-effective.js';
import { type Choices, choicesArbitrary, happened, shuffled, withoutLost } from './billing-histories.js';
import { type BillingRows, readBillingRows, writeOwners } from './billing-rows.js';
import { againstBillingTruth, billingTruthOf } from './billing-truth.js';
import { type ProvidersWorld, type Delivery, rendered } from '../providers-world.js';
import { deliverInTurn, givenUp, pour, settled, type Target } from '../clerk/clerk-deliveries.js';
import { differences, expectAll, mixed } from '../convergence.js';
import { runCommand } from '../processes.js';

/** A history and the order in which the other database is told of it. */
export interface BillingTelling {
  world: ProvidersWorld;
  deliveries: Delivery[];
  /** Bodies differ with the order; what a subscription ever was may never have been told. */
  isLate: boolean;
}

export interface BillingProof {
  /** Told in order, one event after the other. */
  inOrder: Target;
  /** Told otherwise; poured out unless `tellThem` says how. */
  otherwise: Target;
  tellThem?: (tellings: BillingTelling[]) => Promise<void>;
}

/** What a history came to: the rows, and what they give their owners. */
export type Outcome = BillingRows & { effective: Effective };

let count = 0;
/** Eight hexadecimal digits that no other history of a run has in its ids. */
export const newMark = () => `c0de${(count += 1).toString(16).padStart(4, '0')}`;

/** Holds if all these histories end in the same state in both databases, and as the providers have it. */
export async function expectBillingConvergence(proof: BillingProof, runs: number): Promise<void> {
  await expectAll(choicesArbitrary(), async (all) => failures(proof, all), runs);
}

/** What these choices make happen, each with a mark of its own. */
function billingTellingsOf(all: Choices[]): BillingTelling[] {
  return all.map((choices) => {
    const world = happened(choices, newMark());
    return { world, deliveries: rendered(shuffled(world.events, choices)), isLate: choices.rendering === 'latest' };
  });
}

/** Which of these end differently, and how. */
async function failures({ inOrder, otherwise, tellThem }: BillingProof, all: Choices[]): Promise<Map<number, string>> {
  const tellings = billingTellingsOf(all);
  const worlds = tellings.map(({ world }) => world);
  const pourThem = async () => pour(otherwise, mixed(tellings.map(({ deliveries }) => deliveries)));
  const [wanted, found] = await Promise.all([
    outcomesOf(inOrder, worlds, async () => tellInOrder(inOrder, worlds)),
    outcomesOf(otherwise, worlds, async () => (tellThem === undefined ? pourThem() : tellThem(tellings))),
  ]);
  return compareOutcomes(tellings, wanted, found);
}

/** Long before now: what began in this minute would be left alone. */
const LONG_AGO = Date.now() - 400 * 86_400_000;

/**
 * Holds if what was lost is there after a reconciliation, and all is as the providers have it.
 *
 * @param target that is told of nothing else
 */
export async function expectRepair(target: Target, environment: Record<string, string>, runs: number): Promise<void> {
  const all: ProvidersWorld[] = [];
  const failuresOf = async (histories: Choices[]) => {
    const tellings = histories.map((choices) => {
      const world = happened(choices, newMark(), LONG_AGO);
      return { world, deliveries: rendered(shuffled(withoutLost(world.events, choices), choices)) };
    });
    const worlds = tellings.map(({ world }) => world);
    all.push(...worlds);
    await writeOwners(target.db, worlds);
    await pour(target, mixed(tellings.map(({ deliveries }) => deliveries)));
    await settled(target);
    const apis = await startBillingApis(all);
    const env = { ...testEnvironment(target.db.url), ...environment, ...apis.environment };
    const verify = async (...options: string[]) => runCommand(['billing', 'verify', ...options], { env });
    const [repairing, verifying] = [await verify('--fix'), await verify()];
    await apis.close();
    expect([repairing.code, verifying]).toEqual([0, { code: 0, output: 'Nothing differs\n' }]);
    const rows = await readBillingRows(target.db, worlds);
    const failed = tellings.map(({ world, deliveries }, index) => {
      const { subscriptions, periods } = billingTruthOf(world, { isAllTold: true });
      const wrong = againstBillingTruth(rows.get(world.mark)!, { subscriptions: withoutGuesses(subscriptions), periods });
      return [index, wrong.length === 0 ? undefined : storyOf(world, deliveries, wrong)] as const;
    });
    return new Map(failed.flatMap(([index, story]) => (story === undefined ? [] : [[index, story] as const])));
  };
  await expectAll(choicesArbitrary(), failuresOf, runs);
}

/** Dodo's API does not say until when it bears with a payment that failed. */
function withoutGuesses(subscriptions: BillingRows['subscriptions']): BillingRows['subscriptions'] {
  const told = Object.entries(subscriptions).map(([id, { past_due_until: _, ...row }]) => [id, row] as const);
  return Object.fromEntries(told);
}

export async function tellInOrder(target: Target, worlds: ProvidersWorld[]): Promise<void> {
  await deliverInTurn(
    target,
    worlds.map(({ events }) => ({ events: rendered(events) })),
  );
}

/** What these histories come to there, told in this way. */
export async function outcomesOf(target: Target, worlds: ProvidersWorld[], tellThem: () => Promise<void>): Promise<Map<string, Outcome>> {
  await writeOwners(target.db, worlds);
  await tellThem();
  await settled(target);
  expect(await givenUp(target)).toEqual([]);
  const rows = await readBillingRows(target.db, worlds);
  const effective = await readEffective(target, worlds);
  return new Map([...rows].map(([mark, one]) => [mark, { ...one, effective: effective.get(mark)! }]));
}

/** Which histories ended differently, and how; also where they did not end as the providers have it. */
export function compareOutcomes(
  tellings: BillingTelling[],
  wanted: Map<string, Outcome>,
  found: Map<string, Outcome>,
): Map<number, string> {
  const failed = new Map<number, string>();
  for (const [index, { world, deliveries, isLate }] of tellings.entries()) {
    const [right, other] = [wanted, found].map((all) => comparable(all.get(world.mark)!, isLate));
    const wrong = [
      ...differences(right!, other!),
      ...againstBillingTruth(wanted.get(world.mark)!, billingTruthOf(world)).map((line) => `Not as at the provider: ${line}`),
    ];
    if (wrong.length > 0) failed.set(index, storyOf(world, deliveries, wrong));
  }
  return failed;
}

/** What must be equal. What was told on the way depends on when it was, where bodies are rendered late. */
export function comparable(outcome: Outcome, isLate: boolean): Outcome {
  if (!isLate) return outcome;
  const subscriptions = Object.entries(outcome.subscriptions).map(([id, { products: _, ...row }]) => [id, row] as const);
  return { ...outcome, subscriptions: Object.fromEntries(subscriptions), periods: {} };
}

function storyOf({ events }: ProvidersWorld, deliveries: Delivery[], wrong: string[]): string {
  const tale = rendered(events).map(({ provider, messageId, type, body }) => `  ${messageId} ${provider} ${type} ${gist(body)}`);
  return [...wrong, 'Events:', ...tale, `Delivered: ${deliveries.map(({ messageId }) => messageId).join(' ')}`].join('\n');
}

/** What a person wants to see of a payload. */
function gist(body: string): string {
  const { timestamp, data } = JSON.parse(body) as { timestamp: string | number; data: Record<string, unknown> };
  const { id, subscription_id, status, product_id, customer_id, customer, metadata, external_id, modified_at } = data;
  const { customer_id: theirs, id: own, external_id: theirName, metadata: said } = (customer ?? {}) as Record<string, unknown>;
  return JSON.stringify({
    timestamp,
    modified_at,
    id: id ?? subscription_id,
    status,
    product_id,
    customer: customer_id ?? theirs ?? own,
    external_id: external_id ?? theirName,
    metadata,
    said,
  });
}

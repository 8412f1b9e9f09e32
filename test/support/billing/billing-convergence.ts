import { testEnvironment } from '../app.js';
import { startBillingApis } from './billing-apis.js';
import { type Effective, readEffective } from './billing-effective.js';
import { type Choices, choicesArbitrary, worldFrom, shuffled, withoutLost } from './billing-histories.js';
import { type BillingRows, readBillingRows, writeOwners } from './billing-rows.js';
import { billingMismatches, expectedBillingRows } from './billing-expected-rows.js';
import { type ProvidersWorld, type Delivery, rendered } from '../providers-world.js';
import { deliverInTurn, failedEvents, deliverConcurrently, untilProcessed, type Target } from '../clerk/clerk-deliveries.js';
import { differences, expectHistories, interleave } from '../convergence.js';
import { runCommand } from '../processes.js';

/** A history, and the order in which its events are delivered. */
export interface BillingDeliveryPlan {
  world: ProvidersWorld;
  deliveries: Delivery[];
  /** Whether bodies are rendered at delivery: then intermediate states may never be delivered. */
  isLate: boolean;
}

export interface BillingProof {
  /** Receives the events in order, one after the other. */
  inOrder: Target;
  /** Receives them in another order; concurrently unless `deliverAll` is given. */
  reordered: Target;
  deliverAll?: (plans: BillingDeliveryPlan[]) => Promise<void>;
}

/** The rows of a history, and the entitlements of its owners. */
export type Outcome = BillingRows & { effective: Effective };

let count = 0;
/** A mark of eight hexadecimal digits that no other history of the run has. */
export const newMark = () => `c0de${(count += 1).toString(16).padStart(4, '0')}`;

/** Expects that all these histories end in the same state in both databases, equal to the providers' state. */
export async function expectBillingConvergence(proof: BillingProof, runs: number): Promise<void> {
  await expectHistories(choicesArbitrary(), async (all) => failures(proof, all), runs);
}

/** The histories that follow from these choices, each with its own mark. */
function plansOf(all: Choices[]): BillingDeliveryPlan[] {
  return all.map((choices) => {
    const world = worldFrom(choices, newMark());
    return { world, deliveries: rendered(shuffled(world.events, choices)), isLate: choices.rendering === 'latest' };
  });
}

/** The histories that end differently, each with its differences. */
async function failures({ inOrder, reordered, deliverAll }: BillingProof, all: Choices[]): Promise<Map<number, string>> {
  const plans = plansOf(all);
  const worlds = plans.map(({ world }) => world);
  const deliverConcurrentlyByDefault = async () => deliverConcurrently(reordered, interleave(plans.map(({ deliveries }) => deliveries)));
  const [expected, found] = await Promise.all([
    outcomesOf(inOrder, worlds, async () => deliverInOrder(inOrder, worlds)),
    outcomesOf(reordered, worlds, async () => (deliverAll === undefined ? deliverConcurrentlyByDefault() : deliverAll(plans))),
  ]);
  return compareOutcomes(plans, expected, found);
}

// Reconciliation ignores subscriptions from the last minute, so the histories start long ago.
const LONG_AGO = Date.now() - 400 * 86_400_000;

/** Expects that a reconciliation repairs lost events, so that our state equals the providers' state. */
export async function expectRepair(target: Target, environment: Record<string, string>, runs: number): Promise<void> {
  const all: ProvidersWorld[] = [];
  const failuresOf = async (histories: Choices[]) => {
    const plans = histories.map((choices) => {
      const world = worldFrom(choices, newMark(), LONG_AGO);
      return { world, deliveries: rendered(shuffled(withoutLost(world.events, choices), choices)) };
    });
    const worlds = plans.map(({ world }) => world);
    all.push(...worlds);
    await writeOwners(target.db, worlds);
    await deliverConcurrently(target, interleave(plans.map(({ deliveries }) => deliveries)));
    await untilProcessed(target);
    const apis = await startBillingApis(all);
    const env = { ...testEnvironment(target.db.url), ...environment, ...apis.environment };
    const verify = async (...options: string[]) => runCommand(['billing', 'verify', ...options], { env });
    const [repairing, verifying] = [await verify('--fix'), await verify()];
    await apis.close();
    expect([repairing.code, verifying]).toEqual([0, { code: 0, output: 'Nothing differs\n' }]);
    const rows = await readBillingRows(target.db, worlds);
    const failed = plans.map(({ world, deliveries }, index) => {
      const { subscriptions, periods } = expectedBillingRows(world, { isAllReported: true });
      const wrong = billingMismatches(rows.get(world.mark)!, { subscriptions: withoutGuesses(subscriptions), periods });
      return [index, wrong.length === 0 ? undefined : describeFailure(world, deliveries, wrong)] as const;
    });
    return new Map(failed.flatMap(([index, failure]) => (failure === undefined ? [] : [[index, failure] as const])));
  };
  await expectHistories(choicesArbitrary(), failuresOf, runs);
}

/** Without the grace periods, which Dodo's API does not return. */
function withoutGuesses(subscriptions: BillingRows['subscriptions']): BillingRows['subscriptions'] {
  const kept = Object.entries(subscriptions).map(([id, { past_due_until: _, ...row }]) => [id, row] as const);
  return Object.fromEntries(kept);
}

export async function deliverInOrder(target: Target, worlds: ProvidersWorld[]): Promise<void> {
  await deliverInTurn(
    target,
    worlds.map(({ events }) => ({ events: rendered(events) })),
  );
}

/** The outcomes of these histories after the given delivery. */
export async function outcomesOf(target: Target, worlds: ProvidersWorld[], deliverAll: () => Promise<void>): Promise<Map<string, Outcome>> {
  await writeOwners(target.db, worlds);
  await deliverAll();
  await untilProcessed(target);
  expect(await failedEvents(target)).toEqual([]);
  const rows = await readBillingRows(target.db, worlds);
  const effective = await readEffective(target, worlds);
  return new Map([...rows].map(([mark, one]) => [mark, { ...one, effective: effective.get(mark)! }]));
}

/** The histories that end differently or not as at the providers, each with its differences. */
export function compareOutcomes(
  plans: BillingDeliveryPlan[],
  expected: Map<string, Outcome>,
  found: Map<string, Outcome>,
): Map<number, string> {
  const failed = new Map<number, string>();
  for (const [index, { world, deliveries, isLate }] of plans.entries()) {
    const [first, second] = [expected, found].map((all) => comparable(all.get(world.mark)!, isLate));
    const wrong = [
      ...differences(first!, second!),
      ...billingMismatches(expected.get(world.mark)!, expectedBillingRows(world)).map((line) => `Not as at the provider: ${line}`),
    ];
    if (wrong.length > 0) failed.set(index, describeFailure(world, deliveries, wrong));
  }
  return failed;
}

/** The part that must be equal. With late rendering, intermediate states depend on the order. */
export function comparable(outcome: Outcome, isLate: boolean): Outcome {
  if (!isLate) return outcome;
  const subscriptions = Object.entries(outcome.subscriptions).map(([id, { products: _, ...row }]) => [id, row] as const);
  return { ...outcome, subscriptions: Object.fromEntries(subscriptions), periods: {} };
}

function describeFailure({ events }: ProvidersWorld, deliveries: Delivery[], wrong: string[]): string {
  const eventLines = rendered(events).map(({ provider, messageId, type, body }) => `  ${messageId} ${provider} ${type} ${summaryOf(body)}`);
  return [...wrong, 'Events:', ...eventLines, `Delivered: ${deliveries.map(({ messageId }) => messageId).join(' ')}`].join('\n');
}

/** The fields of a payload that help to read a failure. */
function summaryOf(body: string): string {
  const { timestamp, data } = JSON.parse(body) as { timestamp: string | number; data: Record<string, unknown> };
  const { id, subscription_id, status, product_id, customer_id, customer, metadata, external_id, modified_at } = data;
  const {
    customer_id: customerIdOfDodo,
    id: customerIdOfPolar,
    external_id: customerExternalId,
    metadata: customerMetadata,
  } = (customer ?? {}) as Record<string, unknown>;
  return JSON.stringify({
    timestamp,
    modified_at,
    id: id ?? subscription_id,
    status,
    product_id,
    customer: customer_id ?? customerIdOfDodo ?? customerIdOfPolar,
    external_id: external_id ?? customerExternalId,
    metadata,
    customerMetadata,
  });
}

import { jest } from '@jest/globals';
import { BILLING_PRODUCTS } from '../support/billing/billing-products.js';
import {
  type BillingProof,
  type BillingDeliveryPlan,
  comparable,
  compareOutcomes,
  expectBillingConvergence,
  expectRepair,
  newMark,
  type Outcome,
  outcomesOf,
  deliverInOrder,
} from '../support/billing/billing-convergence.js';
import { worldOf, SCENARIOS } from '../support/billing/billing-scenarios.js';
import { billingMismatches, expectedBillingRows } from '../support/billing/billing-expected-rows.js';
import { rendered } from '../support/providers-world.js';
import { deliverInTurn, deliverConcurrently } from '../support/clerk/clerk-deliveries.js';
import { CLERK_WEBHOOK_SECRET } from '../support/clerk/clerk-events.js';
import { ordersOfFive, someOrdersOfFive } from '../support/clerk/clerk-scenarios.js';
import { differences, interleave, withPrefix } from '../support/convergence.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type Change, MutantHost } from '../support/mutants.js';
import { nameOf } from '../support/mutations.js';
import { BILLING_MUTATIONS, WITHOUT_LOCKS } from '../support/proof-mutations.js';
import { strictPlans } from '../support/strict-plans.js';
import { Targets } from '../support/targets.js';

// A generous limit: a busy machine is not a failure.
jest.setTimeout(600_000);

const planFile = strictPlans('pro', 'business');
const ENVIRONMENT = {
  PLANS_FILE: planFile.file,
  CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET,
  POLAR_WEBHOOK_SECRET: CLERK_WEBHOOK_SECRET,
  DODO_PAYMENTS_WEBHOOK_KEY: CLERK_WEBHOOK_SECRET,
  BILLING_PRODUCTS,
  LOG_LEVEL: 'silent',
};
const targets = new Targets(ENVIRONMENT);
afterAll(async () => {
  await targets.end();
  planFile.remove();
});

/** The number of histories; the tests with kills and lost messages use a third of it. */
const RUNS = Number(process.env['FC_RUNS'] ?? 21);

describe('billing events', () => {
  let proof: BillingProof;

  beforeAll(async () => {
    const [inOrder, reordered] = await Promise.all([targets.start(1), targets.start(2)]);
    proof = { inOrder, reordered };
  });

  it('produce the same state in any order, with duplicates and concurrency, on two workers', async () => {
    await expectBillingConvergence(proof, RUNS);
  });

  it('produce the same state when servers are killed continuously', async () => {
    const reordered = await targets.startWithKills();
    const deliverAll = async (plans: BillingDeliveryPlan[]) => reordered.deliverConcurrently(plans.flatMap(({ deliveries }) => deliveries));
    await expectBillingConvergence({ inOrder: proof.inOrder, reordered, deliverAll }, Math.ceil(RUNS / 3));
  });

  it('produce the providers’ state after lost messages and a reconciliation', async () => {
    await expectRepair(await targets.start(1), ENVIRONMENT, Math.ceil(RUNS / 3));
  });

  it('produce the same state in any order of five events', async () => {
    const plansOfCase = Object.values(SCENARIOS).map((scenario) => {
      const orders = ordersOfFive().map((order) => {
        const world = worldOf(scenario, newMark());
        return { world, events: rendered(order.map((index) => world.events[index]!)) };
      });
      return { scenario, world: worldOf(scenario, newMark()), orders };
    });
    const { inOrder, reordered } = proof;
    const worlds = plansOfCase.map(({ world }) => world);
    const orders = plansOfCase.flatMap((one) => one.orders);
    const [expected, found] = await Promise.all([
      outcomesOf(inOrder, worlds, async () => deliverInOrder(inOrder, worlds)),
      outcomesOf(
        reordered,
        orders.map(({ world }) => world),
        async () => deliverInTurn(reordered, orders),
      ),
    ]);
    for (const { world, scenario, orders: ofOne } of plansOfCase) {
      const right = comparable(expected.get(world.mark)!, scenario.rendering === 'latest');
      expect(billingMismatches(expected.get(world.mark)!, expectedBillingRows(world))).toEqual([]);
      for (const { world: other, events } of ofOne) {
        const outcome = withPrefix(found.get(other.mark)!, other.mark, world.mark);
        const order = events.map(({ messageId, type }) => `${messageId} ${type}`);
        expect({ order, differences: differences(right, comparable(outcome, scenario.rendering === 'latest')) }).toEqual({
          order,
          differences: [],
        });
      }
    }
  });
});

describe('the proof itself', () => {
  let host: MutantHost;
  let inOrder: TestDatabase;
  /** A few orders of each scenario. */
  let plans: Map<string, BillingDeliveryPlan[]>;
  let expected: Map<string, Outcome>;

  beforeAll(async () => {
    host = new MutantHost();
    inOrder = await createTestDatabase();
    plans = new Map(
      Object.entries(SCENARIOS).map(([name, scenario]) => [
        name,
        someOrdersOfFive(13).map((order) => {
          const world = worldOf(scenario, newMark());
          const isLate = scenario.rendering === 'latest';
          return { world, deliveries: rendered(order.map((index) => world.events[index]!)), isLate };
        }),
      ]),
    );
    const worlds = [...plans.values()].flat().map(({ world }) => world);
    expected = await targets.onMutant(host, 'unchanged', inOrder, async (target) =>
      outcomesOf(target, worlds, async () => deliverInOrder(target, worlds)),
    );
  });
  afterAll(async () => {
    await host.end();
    await inOrder.drop();
  });

  it.each(BILLING_MUTATIONS.map((mutation) => [nameOf(mutation), mutation] as const))(
    'fails without this code: %s',
    async (_, mutation) => {
      const plansOfCase = plans.get(mutation.scenario)!;
      expect(compareOutcomes(plansOfCase, expected, await outcomesOfMutant(mutation, plansOfCase)).size).toBeGreaterThan(0);
    },
  );

  it('passes with all code', async () => {
    const plansOfCase = [...plans.values()].flat();
    expect([...compareOutcomes(plansOfCase, expected, await outcomesOfMutant('unchanged', plansOfCase)).values()]).toEqual([]);
  });

  it.each<[string, Change, boolean]>([
    ['passes when owners and their purchases are processed concurrently', 'unchanged', true],
    ['fails without the advisory locks', WITHOUT_LOCKS, false],
  ])('%s', async (_, change, passes) => {
    const scenario = SCENARIOS['an organization that is created after the purchase and deleted']!;
    const worlds = Array.from({ length: 20 }, () => worldOf(scenario, newMark()));
    const outcomes = await targets.onMutant(host, change, await targets.newDatabase(), async (target) => {
      await slowDownTransactions(target.db);
      return outcomesOf(target, worlds, async () => deliverConcurrently(target, interleave(worlds.map(({ events }) => rendered(events)))));
    });
    const wrong = worlds.flatMap((world) => billingMismatches(outcomes.get(world.mark)!, expectedBillingRows(world)));
    expect(wrong.length === 0).toBe(passes);
  });

  /** Keeps every transaction open for a while after its decision, so that concurrent ones overlap. */
  async function slowDownTransactions(db: TestDatabase): Promise<void> {
    await db.rows(`CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$`);
    await db.rows('CREATE TRIGGER take_time BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION take_time()');
  }

  /** Delivers one event after the other, so that the result is deterministic. */
  async function outcomesOfMutant(change: Change, plansOfCase: BillingDeliveryPlan[]): Promise<Map<string, Outcome>> {
    const worlds = plansOfCase.map(({ world }) => world);
    const inTurn = plansOfCase.map(({ deliveries }) => ({ events: deliveries }));
    return targets.onMutant(host, change, await targets.newDatabase(), async (target) =>
      outcomesOf(target, worlds, async () => deliverInTurn(target, inTurn)),
    );
  }
});

import { jest } from '@jest/globals';
import { BILLING_PRODUCTS } from '../support/billing/billing-catalogue.js';
import {
  type BillingProof,
  type BillingTelling,
  comparable,
  compareOutcomes,
  expectBillingConvergence,
  expectRepair,
  newMark,
  type Outcome,
  outcomesOf,
  tellInOrder,
} from '../support/billing/billing-convergence.js';
import { happenedAs, STORIES } from '../support/billing/billing-stories.js';
import { againstBillingTruth, billingTruthOf } from '../support/billing/billing-truth.js';
import { rendered } from '../support/providers-world.js';
import { deliverInTurn, pour } from '../support/clerk/clerk-deliveries.js';
import { CLERK_WEBHOOK_SECRET } from '../support/clerk/clerk-events.js';
import { ordersOfFive, someOrdersOfFive } from '../support/clerk/clerk-stories.js';
import { differences, mixed, withPrefix } from '../support/convergence.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { MutantHost, nameOf, NOTHING } from '../support/mutants.js';
import type { Mutation } from '../support/mutations.js';
import { strictPlans } from '../support/strict-plans.js';
import { Targets } from '../support/targets.js';

// Nothing is expected to take that long; a busy machine is no failure, though.
jest.setTimeout(600_000);

const plans = strictPlans('pro', 'business');
const ENVIRONMENT = {
  PLANS_FILE: plans.file,
  CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET,
  POLAR_WEBHOOK_SECRET: CLERK_WEBHOOK_SECRET,
  DODO_PAYMENTS_WEBHOOK_KEY: CLERK_WEBHOOK_SECRET,
  BILLING_PRODUCTS,
  LOG_LEVEL: 'silent',
};
const targets = new Targets(ENVIRONMENT);
afterAll(async () => {
  await targets.end();
  plans.remove();
});

/** How many histories; a third of them with each misfortune. */
const RUNS = Number(process.env['FC_RUNS'] ?? 21);

/** What holds all orders together, and a story in which it does; without it the proof must fail. */
const MUTATIONS: (Mutation & { story: string })[] = [
  {
    file: 'webhooks/webhooks.service.js',
    search: 'insert({ provider: provider.name, messageId,',
    replace: 'insert({ provider: provider.name, messageId: `${messageId}-${process.hrtime.bigint()}`,',
    story: 'cancels, takes it back, is revoked and comes back',
  },
  {
    file: 'sync/event-version.js',
    within: 'export function isNewer',
    search: ') > (',
    replace: ') IS DISTINCT FROM (',
    story: 'cancels, takes it back, is revoked and comes back',
  },
  {
    file: 'providers/fields.schema.js',
    search: ".padEnd(6, '0').slice(0, 6)",
    replace: ".slice(0, 3).padEnd(6, '0')",
    story: 'cancels, takes it back, is revoked and comes back',
  },
  {
    file: 'subscriptions/sync/synced-subscriptions.service.js',
    search: 'await this.putPeriods(',
    replace: 'if (mayWrite) await this.putPeriods(',
    story: 'changes its plan, and renews',
  },
  {
    file: 'subscriptions/sync/synced-subscriptions.service.js',
    search: 'if (customer.isDeleted)',
    replace: 'if (false)',
    story: 'is a customer’s who goes',
  },
  {
    file: 'organizations/synced-organizations.service.js',
    search: 'await this.subscriptions.claim(',
    replace: 'void (',
    story: 'is of a product that nobody knows, for a while',
  },
  {
    file: 'users/synced-users.service.js',
    search: 'await this.subscriptions.claim(',
    replace: 'void (',
    story: 'is a customer’s who gets a name late',
  },
];

/** Without it two who meet do not see each other. */
const WITHOUT_HOLDS: Mutation = { file: 'platform/database/locks.js', search: 'sorted.length === 0', replace: 'true' };

describe('what billing providers tell', () => {
  let proof: BillingProof;

  beforeAll(async () => {
    const [inOrder, otherwise] = await Promise.all([targets.start(1), targets.start(2)]);
    proof = { inOrder, otherwise };
  });

  it('ends in the same state in any order, with duplicates, many at a time, with two workers', async () => {
    await expectBillingConvergence(proof, RUNS);
  });

  it('ends in the same state when servers are killed all the time', async () => {
    const otherwise = await targets.startMortal();
    const tellThem = async (tellings: BillingTelling[]) => otherwise.pour(tellings.flatMap(({ deliveries }) => deliveries));
    await expectBillingConvergence({ inOrder: proof.inOrder, otherwise, tellThem }, Math.ceil(RUNS / 3));
  });

  it('ends as the providers have it when messages were lost, once it was reconciled', async () => {
    await expectRepair(await targets.start(1), ENVIRONMENT, Math.ceil(RUNS / 3));
  });

  it('ends in the same state in any order of five events', async () => {
    const told = Object.values(STORIES).map((story) => {
      const orders = ordersOfFive().map((order) => {
        const world = happenedAs(story, newMark());
        return { world, events: rendered(order.map((index) => world.events[index]!)) };
      });
      return { story, world: happenedAs(story, newMark()), orders };
    });
    const { inOrder, otherwise } = proof;
    const worlds = told.map(({ world }) => world);
    const orders = told.flatMap((one) => one.orders);
    const [wanted, found] = await Promise.all([
      outcomesOf(inOrder, worlds, async () => tellInOrder(inOrder, worlds)),
      outcomesOf(
        otherwise,
        orders.map(({ world }) => world),
        async () => deliverInTurn(otherwise, orders),
      ),
    ]);
    for (const { world, story, orders: ofOne } of told) {
      const right = comparable(wanted.get(world.mark)!, story.rendering === 'latest');
      expect(againstBillingTruth(wanted.get(world.mark)!, billingTruthOf(world))).toEqual([]);
      for (const { world: other, events } of ofOne) {
        const outcome = withPrefix(found.get(other.mark)!, other.mark, world.mark);
        const order = events.map(({ messageId, type }) => `${messageId} ${type}`);
        expect({ order, differences: differences(right, comparable(outcome, story.rendering === 'latest')) }).toEqual({
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
  /** A few orders of each story. */
  let tellings: Map<string, BillingTelling[]>;
  let wanted: Map<string, Outcome>;

  beforeAll(async () => {
    host = new MutantHost();
    inOrder = await createTestDatabase();
    tellings = new Map(
      Object.entries(STORIES).map(([name, story]) => [
        name,
        someOrdersOfFive(13).map((order) => {
          const world = happenedAs(story, newMark());
          const isLate = story.rendering === 'latest';
          return { world, deliveries: rendered(order.map((index) => world.events[index]!)), isLate };
        }),
      ]),
    );
    const worlds = [...tellings.values()].flat().map(({ world }) => world);
    wanted = await targets.onMutant(host, NOTHING, inOrder, async (target) =>
      outcomesOf(target, worlds, async () => tellInOrder(target, worlds)),
    );
  });
  afterAll(async () => {
    await host.end();
    await inOrder.drop();
  });

  it.each(MUTATIONS.map((mutation) => [nameOf(mutation), mutation] as const))('fails when this is taken out: %s', async (_, mutation) => {
    const told = tellings.get(mutation.story)!;
    expect(compareOutcomes(told, wanted, await tellMutant(mutation, told)).size).toBeGreaterThan(0);
  });

  it('holds when nothing is taken out', async () => {
    const told = [...tellings.values()].flat();
    expect([...compareOutcomes(told, wanted, await tellMutant(NOTHING, told)).values()]).toEqual([]);
  });

  it.each([
    ['holds when owners and what was bought for them come at the same time', NOTHING, true],
    ['fails when names are not held meanwhile', WITHOUT_HOLDS, false],
  ])('%s', async (_, mutation, holds) => {
    const story = STORIES['is an organization’s that comes, and goes']!;
    const worlds = Array.from({ length: 20 }, () => happenedAs(story, newMark()));
    const outcomes = await targets.onMutant(host, mutation, await targets.newDatabase(), async (target) => {
      await takeTime(target.db);
      return outcomesOf(target, worlds, async () => pour(target, mixed(worlds.map(({ events }) => rendered(events)))));
    });
    const wrong = worlds.flatMap((world) => againstBillingTruth(outcomes.get(world.mark)!, billingTruthOf(world)));
    expect(wrong.length === 0).toBe(holds);
  });

  /** Every transaction stays open for a while after it has decided: those that may meet do. */
  async function takeTime(db: TestDatabase): Promise<void> {
    await db.rows(`CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$`);
    await db.rows('CREATE TRIGGER take_time BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION take_time()');
  }

  /** One event after the other: what is noticed once is noticed always. */
  async function tellMutant(mutation: Mutation, told: BillingTelling[]): Promise<Map<string, Outcome>> {
    const worlds = told.map(({ world }) => world);
    const inTurn = told.map(({ deliveries }) => ({ events: deliveries }));
    return targets.onMutant(host, mutation, await targets.newDatabase(), async (target) =>
      outcomesOf(target, worlds, async () => deliverInTurn(target, inTurn)),
    );
  }
});

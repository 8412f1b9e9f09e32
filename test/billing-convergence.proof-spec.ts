import { jest } from '@jest/globals';
import { BILLING_PRODUCTS } from './support/billing-catalogue.js';
import {
  type BillingProof,
  type BillingTelling,
  comparable,
  expectBillingConvergence,
  newMark,
  outcomesOf,
  tellInOrder,
} from './support/billing-convergence.js';
import { happenedAs, STORIES } from './support/billing-stories.js';
import { againstBillingTruth, billingTruthOf } from './support/billing-truth.js';
import { rendered } from './support/billing-world.js';
import { deliverInTurn } from './support/clerk-deliveries.js';
import { CLERK_WEBHOOK_SECRET } from './support/clerk-events.js';
import { permutations } from './support/clerk-stories.js';
import { differences, withPrefix } from './support/convergence.js';
import { Targets } from './support/targets.js';

// Nothing is expected to take that long; a busy machine is no failure, though.
jest.setTimeout(600_000);

const targets = new Targets({
  CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET,
  POLAR_WEBHOOK_SECRET: CLERK_WEBHOOK_SECRET,
  DODO_PAYMENTS_WEBHOOK_KEY: CLERK_WEBHOOK_SECRET,
  BILLING_PRODUCTS,
  LOG_LEVEL: 'silent',
});
afterAll(async () => targets.end());

const RUNS = Number(process.env['FC_RUNS'] ?? 250);

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
    await expectBillingConvergence({ inOrder: proof.inOrder, otherwise, tellThem }, 50);
  });

  it('ends in the same state in every order of five events', async () => {
    const told = Object.values(STORIES).map((story) => {
      const orders = permutations(5).map((order) => {
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
      expect(againstBillingTruth(right, billingTruthOf(world))).toEqual([]);
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

import { jest } from '@jest/globals';
import supertest from 'supertest';
import {
  compare,
  expectConvergence,
  type Proof,
  type DeliveryPlan,
  rowsInOrderAt,
  rowsReorderedAt,
} from '../../support/clerk/clerk-convergence.js';
import { deliverInTurn, deliverConcurrently, untilProcessed, type Target } from '../../support/clerk/clerk-deliveries.js';
import { CLERK_WEBHOOK_SECRET } from '../../support/clerk/clerk-events.js';
import { readRows, type Rows, withoutTombstones, writeInitialRows } from '../../support/clerk/clerk-rows.js';
import { ordersOfFive, someOrdersOfFive, SCENARIOS, historyOf } from '../../support/clerk/clerk-scenarios.js';
import { mismatches, expectedRowsOf } from '../../support/clerk/clerk-expected-rows.js';
import { differences, newPrefix, withPrefix } from '../../support/convergence.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { type Change, MutantHost } from '../../support/mutants.js';
import { nameOf } from '../../support/mutations.js';
import { CLERK_MUTATIONS } from '../../support/proof-mutations.js';
import { signUpOperator } from '../../support/people.js';
import { Targets } from '../../support/targets.js';
import { runJob } from '../../support/tenants.js';

// A generous limit: a busy machine is not a failure.
jest.setTimeout(600_000);

const targets = new Targets({ CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET, LOG_LEVEL: 'silent' });
afterAll(async () => targets.end());

async function startProof(environment = {}): Promise<Proof> {
  const [inOrder, reordered] = await Promise.all([targets.start(1, environment), targets.start(2, environment)]);
  return { inOrder, reordered };
}

describe('Clerk events', () => {
  let proof: Proof;

  beforeAll(async () => {
    proof = await startProof();
  });

  it('produce the same rows in any order, with duplicates and concurrency, on two workers', async () => {
    await expectConvergence(proof, { runs: Number(process.env['FC_RUNS'] ?? 100) });
    const unrelated = (await readRows(proof.reordered.db, [])).get('')!;
    expect(Object.values(unrelated).flatMap((kind) => Object.keys(kind))).toEqual([]);
  });

  it('produce the same rows when every tenth write fails', async () => {
    // A sequence does not roll back, so a failed write does not fail forever.
    await proof.reordered.db.rows('CREATE SEQUENCE bad_luck');
    await proof.reordered.db.rows(`CREATE FUNCTION have_bad_luck() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF nextval('bad_luck') % 10 = 0 THEN RAISE EXCEPTION 'bad luck'; END IF;
        RETURN NEW;
      END $$`);
    const failing = [
      ...['audit_log', 'users', 'organizations', 'sessions'].map((table) => `BEFORE INSERT ON ${table}`),
      ...['organization_memberships', 'invitations'].map((table) => `AFTER INSERT OR UPDATE ON ${table}`),
    ];
    const deliverAll = async (plans: DeliveryPlan[]) => {
      for (const [index, when] of failing.entries()) {
        await proof.reordered.db.rows(`CREATE TRIGGER bad_luck_${index} ${when} FOR EACH ROW EXECUTE FUNCTION have_bad_luck()`);
      }
      await deliverConcurrently(
        proof.reordered,
        plans.flatMap(({ deliveries }) => deliveries),
      );
      await untilProcessed({ ...proof.reordered, mayFail: true });
      for (const [index, when] of failing.entries()) {
        await proof.reordered.db.rows(`DROP TRIGGER bad_luck_${index} ON ${when.split(' ON ')[1]}`);
      }
    };
    await expectConvergence({ ...proof, deliverAll }, { runs: 50 });
    const [row] = await proof.reordered.db.rows<{ failed: number }>(
      'SELECT count(*)::int AS failed FROM webhook_events WHERE attempts > 1',
    );
    expect(row!.failed).toBeGreaterThan(40);
  });

  it('produce the same rows when servers are killed continuously', async () => {
    const reordered = await targets.startWithKills();
    const deliverAll = async (plans: DeliveryPlan[]) => reordered.deliverConcurrently(plans.flatMap(({ deliveries }) => deliveries));
    await expectConvergence({ inOrder: proof.inOrder, reordered, deliverAll }, { runs: 30 });
  });

  it('never restore a purged object, whatever is delivered again', async () => {
    const { inOrder, reordered } = await startProof({ PURGE_AFTER_DAYS: '0' });
    const operatorOf = async ({ db, urls }: Target) => {
      const http = supertest(urls()[0]!);
      return { http, db, operator: await signUpOperator({ http, db }) };
    };
    const operators = new Map([
      [inOrder, await operatorOf(inOrder)],
      [reordered, await operatorOf(reordered)],
    ]);
    const purge = async (target: Target) => {
      const { operator, ...app } = operators.get(target)!;
      for (const job of ['purge_users', 'purge_organizations']) await runJob(app, operator, job);
    };
    const deliverAll = async (plans: DeliveryPlan[]) => {
      // A purged user is not found for a merge, so histories with local users are purged only at the end.
      const early = plans.map(({ history, deliveries }) =>
        history.locals.length > 0 ? deliveries : deliveries.slice(0, deliveries.length / 2),
      );
      await deliverConcurrently(reordered, early.flat());
      await untilProcessed(reordered);
      await purge(reordered);
      await deliverConcurrently(
        reordered,
        plans.flatMap(({ deliveries }, index) => deliveries.slice(early[index]!.length)),
      );
      await untilProcessed(reordered);
      await purge(reordered);
      const { http, operator } = operators.get(reordered)!;
      await http.post('/v1/webhook-events/replay').set(operator.auth).send({ provider: 'clerk', status: 'processed' }).expect(202);
      await untilProcessed(reordered);
    };
    await expectConvergence({ inOrder, reordered, deliverAll, finish: purge, select: withoutTombstones }, { runs: 30 });
  });

  it('produce the same rows in any order of five events', async () => {
    const { inOrder, reordered } = proof;
    const plansOfCase = Object.values(SCENARIOS).map((scenario) => {
      const history = historyOf(scenario, newPrefix());
      const orders = ordersOfFive().map((order) => {
        const other = historyOf(scenario, newPrefix());
        return { history: other, events: order.map((index) => other.events[index]!) };
      });
      return { history, orders };
    });
    for (const { history } of plansOfCase) expect(history.events).toHaveLength(5);
    const histories = plansOfCase.map(({ history }) => history);
    const orders = plansOfCase.flatMap((one) => one.orders);
    const others = orders.map(({ history }) => history);
    await writeInitialRows(inOrder.db, histories);
    await writeInitialRows(reordered.db, others);
    await Promise.all([deliverInTurn(inOrder, histories), deliverInTurn(reordered, orders)]);
    const [expected, found] = [await readRows(inOrder.db, histories), await readRows(reordered.db, others)];
    for (const { history, orders: ofOne } of plansOfCase) {
      const right = expected.get(history.prefix)!;
      expect(mismatches(right, expectedRowsOf(history)!)).toEqual([]);
      for (const { history: other, events } of ofOne) {
        const rows = withPrefix(found.get(other.prefix)!, other.prefix, history.prefix);
        const order = events.map(({ messageId, type }) => `${messageId} ${type}`);
        expect({ order, differences: differences(right, rows) }).toEqual({ order, differences: [] });
      }
    }
  });
});

describe('the proof itself', () => {
  let host: MutantHost;
  let inOrder: TestDatabase;
  /** A few orders of each scenario. */
  let plans: Map<string, DeliveryPlan[]>;
  let expected: Map<string, Rows>;

  beforeAll(async () => {
    host = new MutantHost();
    inOrder = await createTestDatabase();
    plans = new Map(
      Object.entries(SCENARIOS).map(([name, scenario]) => [
        name,
        someOrdersOfFive(13).map((order) => {
          const history = historyOf(scenario, newPrefix());
          return { history, deliveries: order.map((index) => history.events[index]!) };
        }),
      ]),
    );
    expected = await targets.onMutant(host, 'unchanged', inOrder, (target) => rowsInOrderAt(target, [...plans.values()].flat()));
  });
  afterAll(async () => {
    await host.end();
    await inOrder.drop();
  });

  it.each(CLERK_MUTATIONS.map((mutation) => [nameOf(mutation), mutation] as const))('fails without this code: %s', async (_, mutation) => {
    const plansOfCase = plans.get(mutation.scenario)!;
    expect(compare(plansOfCase, expected, await rowsOfMutant(mutation, plansOfCase)).size).toBeGreaterThan(0);
  });

  it('passes with all code', async () => {
    const plansOfCase = [...plans.values()].flat();
    expect([...compare(plansOfCase, expected, await rowsOfMutant('unchanged', plansOfCase)).values()]).toEqual([]);
  });

  /** Delivers one event after the other, so that the result is deterministic. */
  async function rowsOfMutant(change: Change, plansOfCase: DeliveryPlan[]): Promise<Map<string, Rows>> {
    const inTurn = plansOfCase.map(({ deliveries }) => ({ events: deliveries }));
    return targets.onMutant(host, change, await targets.newDatabase(), (target) =>
      rowsReorderedAt(target, plansOfCase, async () => deliverInTurn(target, inTurn)),
    );
  }
});

import { jest } from '@jest/globals';
import fc from 'fast-check';
import supertest from 'supertest';
import {
  compare,
  expectConvergence,
  type Proof,
  type Telling,
  tellingsOf,
  tellInOrder,
  tellOtherwise,
} from './support/clerk-convergence.js';
import { deliverInTurn, pour, settled, type Target } from './support/clerk-deliveries.js';
import { CLERK_WEBHOOK_SECRET } from './support/clerk-events.js';
import { choicesArbitrary } from './support/clerk-histories.js';
import { readRows, type Rows, withoutTombstones, writeBefore } from './support/clerk-rows.js';
import { ordersOfFive, permutations, STORIES, tellStory } from './support/clerk-stories.js';
import { againstTruth, truthOf } from './support/clerk-truth.js';
import { differences, newPrefix, withPrefix } from './support/convergence.js';
import { createTestDatabase, type TestDatabase } from './support/database.js';
import { MutantHost, nameOf } from './support/mutants.js';
import type { Mutation } from './support/mutations.js';
import { signUpOperator } from './support/people.js';
import { Targets } from './support/targets.js';
import { runJob } from './support/tenants.js';

const NOTHING: Mutation = { file: 'main.js', search: 'await start();', replace: 'await start();' };

const SYNC = 'webhooks/clerk/clerk-sync.js';

/** What holds all orders together; without it the proof must fail. */
const MUTATIONS: Mutation[] = [
  { file: 'common/event-key.js', within: 'export function isNewer', search: ') > (', replace: ') IS DISTINCT FROM (' },
  { file: 'users/synced-users.repository.js', search: 'isNull(users.deletedAt), mayWrite(', replace: 'mayWrite(' },
  { file: 'users/user-merges.js', search: 'later !== undefined', replace: 'false' },
  { file: 'users/synced-users.service.js', search: 'before?.clerkEmail != null && before.clerkEmail !== email', replace: 'false' },
  { file: SYNC, search: 'isOrphan: user.deletedAt !== null || home.deletedAt !== null', replace: 'isOrphan: false' },
  { file: SYNC, search: 'isOrphan: home.deletedAt !== null', replace: 'isOrphan: false' },
  { file: SYNC, search: 'isEnded: isEnded || user.deletedAt !== null', replace: 'isEnded' },
];

// Nothing is expected to take that long; a busy machine is no failure, though.
jest.setTimeout(600_000);

const targets = new Targets({ CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET, LOG_LEVEL: 'silent' });
afterAll(async () => targets.end());

async function startProof(environment = {}): Promise<Proof> {
  const [inOrder, otherwise] = await Promise.all([targets.start(1, environment), targets.start(2, environment)]);
  return { inOrder, otherwise };
}

describe('what Clerk tells', () => {
  let proof: Proof;

  beforeAll(async () => {
    proof = await startProof();
  });

  it('ends in the same rows in any order, with duplicates, many at a time, with two workers', async () => {
    await expectConvergence(proof, { runs: Number(process.env['FC_RUNS'] ?? 150) });
    const strangers = (await readRows(proof.otherwise.db, [])).get('')!;
    expect(Object.values(strangers).flatMap((kind) => Object.keys(kind))).toEqual([]);
  });

  it('ends in the same rows when every tenth write fails', async () => {
    // A sequence does not roll back: what failed does not fail for ever.
    await proof.otherwise.db.rows('CREATE SEQUENCE bad_luck');
    await proof.otherwise.db.rows(`CREATE FUNCTION have_bad_luck() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF nextval('bad_luck') % 10 = 0 THEN RAISE EXCEPTION 'bad luck'; END IF;
        RETURN NEW;
      END $$`);
    const failing = [
      ...['audit_log', 'users', 'organizations', 'sessions'].map((table) => `BEFORE INSERT ON ${table}`),
      ...['organization_memberships', 'invitations'].map((table) => `AFTER INSERT OR UPDATE ON ${table}`),
    ];
    const tellThem = async (tellings: Telling[]) => {
      for (const [index, when] of failing.entries()) {
        await proof.otherwise.db.rows(`CREATE TRIGGER bad_luck_${index} ${when} FOR EACH ROW EXECUTE FUNCTION have_bad_luck()`);
      }
      await pour(
        proof.otherwise,
        tellings.flatMap(({ deliveries }) => deliveries),
      );
      await settled(proof.otherwise);
      for (const [index, when] of failing.entries()) {
        await proof.otherwise.db.rows(`DROP TRIGGER bad_luck_${index} ON ${when.split(' ON ')[1]}`);
      }
    };
    await expectConvergence({ ...proof, tellThem }, { runs: 50 });
    const [row] = await proof.otherwise.db.rows<{ failed: number }>(
      'SELECT count(*)::int AS failed FROM webhook_events WHERE attempts > 1',
    );
    expect(row!.failed).toBeGreaterThan(40);
  });

  it('ends in the same rows when servers are killed all the time', async () => {
    const otherwise = await targets.startMortal();
    const tellThem = async (tellings: Telling[]) => otherwise.pour(tellings.flatMap(({ deliveries }) => deliveries));
    await expectConvergence({ inOrder: proof.inOrder, otherwise, tellThem }, { runs: 40 });
  });

  it('brings nothing back that was purged, whatever is told again', async () => {
    const { inOrder, otherwise } = await startProof({ PURGE_AFTER_DAYS: '0' });
    const operatorOf = async ({ db, urls }: Target) => {
      const http = supertest(urls()[0]!);
      return { http, db, operator: await signUpOperator({ http, db }) };
    };
    const operators = new Map([
      [inOrder, await operatorOf(inOrder)],
      [otherwise, await operatorOf(otherwise)],
    ]);
    const purge = async (target: Target) => {
      const { operator, ...app } = operators.get(target)!;
      for (const job of ['purge_users', 'purge_organizations']) await runJob(app, operator, job);
    };
    const tellThem = async (tellings: Telling[]) => {
      // Who was purged is nobody's other self any more: with local users a purge may come only after all was told.
      const early = tellings.map(({ history, deliveries }) =>
        history.locals.length > 0 ? deliveries : deliveries.slice(0, deliveries.length / 2),
      );
      await pour(otherwise, early.flat());
      await settled(otherwise);
      await purge(otherwise);
      await pour(
        otherwise,
        tellings.flatMap(({ deliveries }, index) => deliveries.slice(early[index]!.length)),
      );
      await settled(otherwise);
      await purge(otherwise);
      const { http, operator } = operators.get(otherwise)!;
      await http.post('/v1/webhook-events/replay').set(operator.auth).send({ provider: 'clerk', status: 'processed' }).expect(202);
      await settled(otherwise);
    };
    await expectConvergence({ inOrder, otherwise, tellThem, atTheEnd: purge, compared: withoutTombstones }, { runs: 50 });
  });

  it('ends in the same rows in any order of five events', async () => {
    const { inOrder, otherwise } = proof;
    const told = Object.values(STORIES).map((story) => {
      const history = tellStory(story, newPrefix());
      const orders = ordersOfFive().map((order) => {
        const other = tellStory(story, newPrefix());
        return { history: other, events: order.map((index) => other.events[index]!) };
      });
      return { history, orders };
    });
    for (const { history } of told) expect(history.events).toHaveLength(5);
    const histories = told.map(({ history }) => history);
    const orders = told.flatMap((one) => one.orders);
    const others = orders.map(({ history }) => history);
    await writeBefore(inOrder.db, histories);
    await writeBefore(otherwise.db, others);
    await Promise.all([deliverInTurn(inOrder, histories), deliverInTurn(otherwise, orders)]);
    const [wanted, found] = [await readRows(inOrder.db, histories), await readRows(otherwise.db, others)];
    for (const { history, orders: ofOne } of told) {
      const right = wanted.get(history.prefix)!;
      expect(againstTruth(right, truthOf(history)!)).toEqual([]);
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
  let tellings: Telling[];
  let wanted: Map<string, Rows>;

  beforeAll(async () => {
    host = new MutantHost();
    inOrder = await createTestDatabase();
    const stories = Object.values(STORIES).flatMap((story) =>
      permutations(5).map((order) => {
        const history = tellStory(story, newPrefix());
        return { history, deliveries: order.map((index) => history.events[index]!) };
      }),
    );
    tellings = [...tellingsOf(fc.sample(choicesArbitrary(), { seed: 1, numRuns: 20 })), ...stories.filter((_, index) => index % 24 === 7)];
    wanted = await targets.onMutant(host, NOTHING, inOrder, (target) => tellInOrder(target, tellings));
  });
  afterAll(async () => {
    await host.end();
    await inOrder.drop();
  });

  it.each(MUTATIONS.map((mutation) => [nameOf(mutation), mutation] as const))('fails when this is taken out: %s', async (_, mutation) => {
    const found = await targets.onMutant(host, mutation, await targets.newDatabase(), tellInTurn);
    expect(compare(tellings, wanted, found).size).toBeGreaterThan(0);
  });

  it('holds when nothing is taken out', async () => {
    const found = await targets.onMutant(host, NOTHING, await targets.newDatabase(), tellInTurn);
    expect([...compare(tellings, wanted, found).values()]).toEqual([]);
  });

  /** One event after the other: what is noticed once is noticed always. */
  function tellInTurn(target: Target): Promise<Map<string, Rows>> {
    return tellOtherwise(target, tellings, (all) =>
      deliverInTurn(
        target,
        all.map(({ deliveries }) => ({ events: deliveries })),
      ),
    );
  }
});

import { jest } from '@jest/globals';
import supertest from 'supertest';
import { compare, expectConvergence, type Proof, type Telling, tellInOrder, tellOtherwise } from '../../support/clerk/clerk-convergence.js';
import { deliverInTurn, pour, settled, type Target } from '../../support/clerk/clerk-deliveries.js';
import { CLERK_WEBHOOK_SECRET } from '../../support/clerk/clerk-events.js';
import { readRows, type Rows, withoutTombstones, writeBefore } from '../../support/clerk/clerk-rows.js';
import { ordersOfFive, someOrdersOfFive, STORIES, tellStory } from '../../support/clerk/clerk-stories.js';
import { againstTruth, truthOf } from '../../support/clerk/clerk-truth.js';
import { differences, newPrefix, withPrefix } from '../../support/convergence.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { MutantHost, nameOf, NOTHING } from '../../support/mutants.js';
import type { Mutation } from '../../support/mutations.js';
import { signUpOperator } from '../../support/people.js';
import { Targets } from '../../support/targets.js';
import { runJob } from '../../support/tenants.js';

const SYNC = 'providers/clerk/clerk-sync.service.js';

/** What holds all orders together, and a story in which it does; without it the proof must fail. */
const MUTATIONS: (Mutation & { story: string })[] = [
  {
    file: 'sync/event-version.js',
    within: 'export function isNewer',
    search: ') > (',
    replace: ') IS DISTINCT FROM (',
    story: 'an address that goes from one to the next',
  },
  {
    file: 'users/synced-users.repository.js',
    search: 'isNull(users.deletedAt), mayWrite(',
    replace: 'mayWrite(',
    story: 'a user who changes and goes',
  },
  {
    file: 'users/user-merges.service.js',
    search: 'later !== undefined',
    replace: 'false',
    story: 'somebody we know, who comes as two Clerk users, one after the other',
  },
  {
    file: 'users/synced-users.service.js',
    search: 'before?.clerkEmail != null && before.clerkEmail !== email',
    replace: 'false',
    story: 'a squatter who loses an address to its owner',
  },
  {
    file: SYNC,
    search: 'isOrphan: user.deletedAt !== null || home.deletedAt !== null',
    replace: 'isOrphan: false',
    story: 'a user who goes with all that is theirs',
  },
  {
    file: SYNC,
    search: 'isOrphan: home.deletedAt !== null',
    replace: 'isOrphan: false',
    story: 'an organization that goes with all that belongs to it',
  },
  { file: SYNC, search: 'isEnded: isEnded || user.deletedAt !== null', replace: 'isEnded', story: 'a user who goes and never signed out' },
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
    await expectConvergence(proof, { runs: Number(process.env['FC_RUNS'] ?? 100) });
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
      await settled({ ...proof.otherwise, mayFail: true });
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
    await expectConvergence({ inOrder: proof.inOrder, otherwise, tellThem }, { runs: 30 });
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
    await expectConvergence({ inOrder, otherwise, tellThem, atTheEnd: purge, compared: withoutTombstones }, { runs: 30 });
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
  /** A few orders of each story. */
  let tellings: Map<string, Telling[]>;
  let wanted: Map<string, Rows>;

  beforeAll(async () => {
    host = new MutantHost();
    inOrder = await createTestDatabase();
    tellings = new Map(
      Object.entries(STORIES).map(([name, story]) => [
        name,
        someOrdersOfFive(13).map((order) => {
          const history = tellStory(story, newPrefix());
          return { history, deliveries: order.map((index) => history.events[index]!) };
        }),
      ]),
    );
    wanted = await targets.onMutant(host, NOTHING, inOrder, (target) => tellInOrder(target, [...tellings.values()].flat()));
  });
  afterAll(async () => {
    await host.end();
    await inOrder.drop();
  });

  it.each(MUTATIONS.map((mutation) => [nameOf(mutation), mutation] as const))('fails when this is taken out: %s', async (_, mutation) => {
    const told = tellings.get(mutation.story)!;
    expect(compare(told, wanted, await tellMutant(mutation, told)).size).toBeGreaterThan(0);
  });

  it('holds when nothing is taken out', async () => {
    const told = [...tellings.values()].flat();
    expect([...compare(told, wanted, await tellMutant(NOTHING, told)).values()]).toEqual([]);
  });

  /** One event after the other: what is noticed once is noticed always. */
  async function tellMutant(mutation: Mutation, told: Telling[]): Promise<Map<string, Rows>> {
    const inTurn = told.map(({ deliveries }) => ({ events: deliveries }));
    return targets.onMutant(host, mutation, await targets.newDatabase(), (target) =>
      tellOtherwise(target, told, async () => deliverInTurn(target, inTurn)),
    );
  }
});

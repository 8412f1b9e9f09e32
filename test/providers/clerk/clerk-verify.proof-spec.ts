import fc from 'fast-check';
import { ClerkReconciliation } from '../../../src/providers/clerk/clerk-reconciliation.service.js';
import type { Difference, ReconciliationOptions } from '../../../src/sync/reconciliation.port.js';
import { current, type HistoryEvent, live } from '../../simulators/clerk-instance.js';
import { type ClerkApiSimulator, type ClerkMembership, type ClerkObject, startClerkApiSimulator } from '../../simulators/clerk-api.js';
import { startTestApp, testEnvironment } from '../../support/app.js';
import { deliverInTurn, untilProcessed } from '../../support/clerk/clerk-deliveries.js';
import { CLERK_WEBHOOK_SECRET, membershipData, organizationData, userData } from '../../support/clerk/clerk-events.js';
import { choicesArbitrary, type History, historyFrom } from '../../support/clerk/clerk-histories.js';
import { readRows, writeInitialRows } from '../../support/clerk/clerk-rows.js';
import { mismatches, expectedRowsOf } from '../../support/clerk/clerk-expected-rows.js';
import { newPrefix } from '../../support/convergence.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { endProcesses, runCommand } from '../../support/processes.js';
import { skipJob } from '../../support/tenant-world.js';

const START = Date.UTC(2026, 0, 1);

let clerk: ClerkApiSimulator;
let db: TestDatabase;
beforeEach(async () => {
  clerk = await startClerkApiSimulator();
  db = await createTestDatabase();
});
afterEach(async () => {
  await endProcesses();
  await clerk.close();
  await db.drop();
});

const api = () => ({ CLERK_SECRET_KEY: clerk.secretKey, CLERK_API_URL: clerk.url });

describe('the command clerk verify', () => {
  const verify = (options: string[] = [], env: Record<string, string> = api()) =>
    runCommand(['clerk', 'verify', ...options], { env: { ...testEnvironment(db.url), ...env } });

  it('prints the differences and exits with 1 until they are repaired', async () => {
    expect(await verify()).toEqual({ code: 0, output: 'Nothing differs\n' });
    clerk.users.set('user_1', userData({ id: 'user_1', firstName: 'Ada', createdAt: START }) as ClerkObject);
    await db.rows(
      `INSERT INTO users (id, clerk_user_id, name, created_at, event_at) VALUES
         (gen_random_uuid(), 'user_1', 'Mallory', '2026-01-01', '2026-01-01'), (gen_random_uuid(), 'user_2', 'Gone', '2026-01-01', '2026-01-01')`,
    );
    const found = 'extra user user_2\nstale user user_1: name, imageUrl\n2 differences (1 extra user, 1 stale user)\n';
    expect(await verify()).toEqual({ code: 1, output: found });
    expect(await verify(['--fix'])).toEqual({
      code: 0,
      output:
        'extra user user_2 (repaired)\nstale user user_1: name, imageUrl (repaired)\n2 differences (1 extra user, 1 stale user); 2 repaired, 0 left\n',
    });
    expect(await verify()).toEqual({ code: 0, output: 'Nothing differs\n' });
    // Deleted users stay deleted.
    clerk.users.set('user_2', userData({ id: 'user_2', createdAt: START }) as ClerkObject);
    expect(await verify(['--fix'])).toEqual({
      code: 1,
      output: 'stale user user_2: deleted here (left)\n1 difference (1 stale user); 0 repaired, 1 left\n',
    });
  });

  it('prints why it cannot run, and exits with 2', async () => {
    expect(await verify([], {})).toEqual({ code: 2, output: 'CLERK_SECRET_KEY is not set: Clerk cannot be asked.\n' });
    expect(await verify(['--fx'])).toMatchObject({ code: 2, output: expect.stringMatching(/^Unknown option '--fx'\./) });
    expect(await verify(['--fix'], { ...api(), CLERK_INSTANCE_ID: 'ins_other' })).toEqual({
      code: 2,
      output: 'CLERK_SECRET_KEY opens the instance ins_simulated, but CLERK_INSTANCE_ID is ins_other.\n',
    });
    const { code, output } = await verify([], { ...api(), CLERK_SECRET_KEY: 'sk_test_wrong' });
    expect([code, output]).toEqual([2, expect.stringMatching(/^Clerk could not list users: 401, clerk_key_invalid [^\n]*\n$/)]);
    expect(output).not.toContain('sk_test_wrong');
  });

  it('repairs a database in which Clerk knows few of the users only with --force', async () => {
    await db.rows(
      `INSERT INTO users (id, clerk_user_id, name, created_at) SELECT gen_random_uuid(), 'user_' || n, '', '2026-01-01' FROM generate_series(1, 11) n`,
    );
    const refused = await verify(['--fix']);
    expect([refused.code, refused.output]).toEqual([2, expect.stringContaining('looks like the key of another instance')]);
    expect(await db.rows('SELECT FROM users WHERE deleted_at IS NULL')).toHaveLength(11);
    expect(await verify(['--force', '--fix'])).toMatchObject({ code: 0, output: expect.stringContaining('; 11 repaired, 0 left\n') });
  });
});

describe('after any history with lost events', () => {
  /** Loads the final state of a history into the simulated API. */
  const show = ({ clerk: instance }: History) => {
    for (const user of live(instance.users)) clerk.users.set(current(user).id, userData(current(user)) as ClerkObject);
    for (const organization of live(instance.organizations))
      clerk.organizations.set(current(organization).id, organizationData(current(organization)) as ClerkObject);
    for (const membership of live(instance.memberships)) {
      const [organization, user] = [current(membership.organization), current(membership.user)];
      clerk.memberships.set(current(membership).id, membershipData({ ...current(membership), organization, user }) as ClerkMembership);
    }
  };

  it("makes our users, organizations and memberships equal to Clerk's", async () => {
    const seed = Number(process.env['FC_SEED'] ?? (Date.now() ^ (Math.random() * 0x100000000)) | 0);
    // Without local users: the merge may depend on an event that was lost.
    const samples = fc.sample(choicesArbitrary({ maxLocals: 0 }), { seed, numRuns: Number(process.env['FC_RUNS'] ?? 100) });
    // Without ties: there only the order of two ids decides which membership is later.
    const histories = samples.map((choices) => ({ choices, ...historyFrom(choices, newPrefix()) })).filter(({ clerk: { tied } }) => !tied);
    const delivered = histories.map(({ choices, events, ...history }) => ({
      ...history,
      events: events.filter((_event: HistoryEvent, index) => choices.order[index % choices.order.length]! % 3 > 0),
    }));
    await skipJob(db, 'reconcile_clerk', 86_400);
    const t = await startTestApp({ ...api(), CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET }, db);
    try {
      await writeInitialRows(db, histories);
      const target = { db, urls: () => [t.url] };
      await deliverInTurn(target, delivered);
      for (const history of histories) show(history);
      // Stubs are older than the first minute, in which nothing counts as missing.
      await db.rows(`UPDATE users SET created_at = now() - interval '2 minutes' WHERE created_at > now() - interval '2 minutes'`);
      await db.rows(`UPDATE organizations SET created_at = now() - interval '2 minutes' WHERE created_at > now() - interval '2 minutes'`);
      const reconciliation = t.app.get(ClerkReconciliation);
      const differences = async (options: ReconciliationOptions = {}) => {
        const left: Difference[] = [];
        await reconciliation.reconcile({ ...options, onDifference: (one) => one.isRepaired || left.push(one) });
        return { seed, left };
      };
      expect((await differences()).left.length).toBeGreaterThan(histories.length / 2);
      expect(await differences({ fix: true, force: true })).toEqual({ seed, left: [] });
      expect(await differences()).toEqual({ seed, left: [] });
      await expectClerkState(histories, seed);
      // The lost events arrive late and change nothing.
      await deliverInTurn(target, histories);
      await untilProcessed(target);
      await expectClerkState(histories, seed);
      expect(await differences()).toEqual({ seed, left: [] });
    } finally {
      await t.close();
    }
  });

  async function expectClerkState(histories: History[], seed: number): Promise<void> {
    const rows = await readRows(db, histories);
    const wrong = histories.flatMap((history) => {
      const expected = expectedRowsOf(history);
      if (expected === undefined) return [];
      const found = rows.get(history.prefix)!;
      // Invitations and sessions are not compared, and a deleted object that was never known needs no tombstone.
      for (const kind of ['users', 'organizations', 'memberships'] as const)
        for (const [id, wanted] of Object.entries(expected[kind]))
          if ((wanted as { dead?: boolean }).dead === true && found[kind][id] === undefined) delete expected[kind][id];
      return mismatches(found, { ...expected, invitations: {}, sessions: {}, locals: {} });
    });
    expect({ seed, wrong }).toEqual({ seed, wrong: [] });
  }
});

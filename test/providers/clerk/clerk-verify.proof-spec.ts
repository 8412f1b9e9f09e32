import fc from 'fast-check';
import { ClerkReconciliation } from '../../../src/providers/clerk/clerk-reconciliation.service.js';
import type { Difference, ReconciliationOptions } from '../../../src/sync/reconciliation.port.js';
import { current, type HistoryEvent, living } from '../../simulators/clerk-instance.js';
import { type ClerkApiSimulator, type ClerkMembership, type ClerkObject, startClerkApiSimulator } from '../../simulators/clerk-api.js';
import { startTestApp, testEnvironment } from '../../support/app.js';
import { deliverInTurn, settled } from '../../support/clerk/clerk-deliveries.js';
import { CLERK_WEBHOOK_SECRET, membershipData, organizationData, userData } from '../../support/clerk/clerk-events.js';
import { choicesArbitrary, type History, tell } from '../../support/clerk/clerk-histories.js';
import { readRows, writeBefore } from '../../support/clerk/clerk-rows.js';
import { againstTruth, truthOf } from '../../support/clerk/clerk-truth.js';
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

describe('clerk verify, the command', () => {
  const verify = (options: string[] = [], env: Record<string, string> = api()) =>
    runCommand(['clerk', 'verify', ...options], { env: { ...testEnvironment(db.url), ...env } });

  it('prints what differs and exits with 1, until it was repaired', async () => {
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
    // The dead stay dead.
    clerk.users.set('user_2', userData({ id: 'user_2', createdAt: START }) as ClerkObject);
    expect(await verify(['--fix'])).toEqual({
      code: 1,
      output: 'stale user user_2: deleted here (left)\n1 difference (1 stale user); 0 repaired, 1 left\n',
    });
  });

  it('says in a sentence why it cannot, and exits with 2', async () => {
    expect(await verify([], {})).toEqual({ code: 2, output: 'CLERK_SECRET_KEY is not set: Clerk cannot be asked.\n' });
    expect(await verify(['--fx'])).toMatchObject({ code: 2, output: expect.stringMatching(/^Unknown option '--fx'\./) });
    expect(await verify(['--fix'], { ...api(), CLERK_INSTANCE_ID: 'ins_other' })).toEqual({
      code: 2,
      output: 'CLERK_SECRET_KEY opens the instance ins_simulated, but CLERK_INSTANCE_ID is ins_other.\n',
    });
    const { code, output } = await verify([], { ...api(), CLERK_SECRET_KEY: 'sk_test_wrong' });
    expect([code, output]).toEqual([2, expect.stringMatching(/^Clerk did not list users: 401, clerk_key_invalid [^\n]*\n$/)]);
    expect(output).not.toContain('sk_test_wrong');
  });

  it('repairs a database whose users are mostly unknown to Clerk only when it is forced to', async () => {
    await db.rows(
      `INSERT INTO users (id, clerk_user_id, name, created_at) SELECT gen_random_uuid(), 'user_' || n, '', '2026-01-01' FROM generate_series(1, 11) n`,
    );
    const refused = await verify(['--fix']);
    expect([refused.code, refused.output]).toEqual([2, expect.stringContaining('looks like the key of another instance')]);
    expect(await db.rows('SELECT FROM users WHERE deleted_at IS NULL')).toHaveLength(11);
    expect(await verify(['--force', '--fix'])).toMatchObject({ code: 0, output: expect.stringContaining('; 11 repaired, 0 left\n') });
  });
});

describe('after any history of which any events were lost', () => {
  /** What Clerk's API shows when all has happened. */
  const show = ({ clerk: instance }: History) => {
    for (const user of living(instance.users)) clerk.users.set(current(user).id, userData(current(user)) as ClerkObject);
    for (const organization of living(instance.organizations))
      clerk.organizations.set(current(organization).id, organizationData(current(organization)) as ClerkObject);
    for (const membership of living(instance.memberships)) {
      const [organization, user] = [current(membership.organization), current(membership.user)];
      clerk.memberships.set(current(membership).id, membershipData({ ...current(membership), organization, user }) as ClerkMembership);
    }
  };

  it('our users, organizations and memberships end as Clerk has them', async () => {
    const seed = Number(process.env['FC_SEED'] ?? (Date.now() ^ (Math.random() * 0x100000000)) | 0);
    // Nobody local: whose row they become may have been told by what was lost.
    const samples = fc.sample(choicesArbitrary({ maxLocals: 0 }), { seed, numRuns: Number(process.env['FC_RUNS'] ?? 100) });
    // Nor where only their ids tell which of two memberships was the later one.
    const histories = samples.map((choices) => ({ choices, ...tell(choices, newPrefix()) })).filter(({ clerk: { tied } }) => !tied);
    const delivered = histories.map(({ choices, events, ...history }) => ({
      ...history,
      events: events.filter((_event: HistoryEvent, index) => choices.order[index % choices.order.length]! % 3 > 0),
    }));
    await skipJob(db, 'reconcile_clerk', 86_400);
    const t = await startTestApp({ ...api(), CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET }, db);
    try {
      await writeBefore(db, histories);
      const target = { db, urls: () => [t.url] };
      await deliverInTurn(target, delivered);
      for (const history of histories) show(history);
      // Those whom only others told of have been here for less than the minute in which nobody is missed.
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
      await expectTruth(histories, seed);
      // What was lost comes after all, and changes nothing of it.
      await deliverInTurn(target, histories);
      await settled(target);
      await expectTruth(histories, seed);
      expect(await differences()).toEqual({ seed, left: [] });
    } finally {
      await t.close();
    }
  });

  async function expectTruth(histories: History[], seed: number): Promise<void> {
    const rows = await readRows(db, histories);
    const wrong = histories.flatMap((history) => {
      const truth = truthOf(history);
      if (truth === undefined) return [];
      const found = rows.get(history.prefix)!;
      // Invitations and sessions are not compared; and of what was never heard of, nobody has to know that it is dead.
      for (const kind of ['users', 'organizations', 'memberships'] as const)
        for (const [id, wanted] of Object.entries(truth[kind]))
          if ((wanted as { dead?: boolean }).dead === true && found[kind][id] === undefined) delete truth[kind][id];
      return againstTruth(found, { ...truth, invitations: {}, sessions: {}, locals: {} });
    });
    expect({ seed, wrong }).toEqual({ seed, wrong: [] });
  }
});

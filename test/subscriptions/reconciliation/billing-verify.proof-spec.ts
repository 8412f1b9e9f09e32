import { VirtualClock } from '../../simulators/virtual-time.js';
import { testEnvironment } from '../../support/app.js';
import { type BillingSide, type ProviderName, startDodoSide, startPolarSide } from '../../support/billing/billing-world.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { endProcesses, ready, runCommand, startServer, until } from '../../support/processes.js';

const UNKNOWN_ID = '01990000-0000-4000-8000-00000000dead';

let clock: VirtualClock;
let polar: BillingSide;
let dodo: BillingSide;
let db: TestDatabase;
beforeEach(async () => {
  // Nothing is due, so only the comparison makes calls.
  clock = new VirtualClock(Date.now() - 2 * 86_400_000);
  [polar, dodo] = [await startPolarSide(clock), await startDodoSide(clock)];
  db = await createTestDatabase();
});
afterEach(async () => {
  await endProcesses();
  await Promise.all([polar.close(), dodo.close()]);
  await db.drop();
});

const environment = () => ({ ...polar.environment, ...dodo.environment });

const insertUnknown = (provider: ProviderName, id: string) =>
  db.rows(
    `INSERT INTO subscriptions (id, provider, provider_subscription_id, provider_customer_id, status, created_at)
     VALUES (gen_random_uuid(), $1, $2, 'nobody', 'active', '2026-01-01')`,
    [provider, id],
  );

describe('the command billing verify', () => {
  const verify = (options: string[] = [], env: Record<string, string> = environment()) =>
    runCommand(['billing', 'verify', ...options], { env: { ...testEnvironment(db.url), ...env } });

  it('prints the differences and exits with 1 until they are repaired', async () => {
    expect(await verify()).toEqual({ code: 0, output: 'Nothing differs\n' });
    const [first, second] = [polar.subscribe(), dodo.subscribe()];
    const productOf = (side: BillingSide, id: string) => `${side.name}:${(side.apiResponse(id) as { product_id: string }).product_id}=pro`;
    const fixed = () => verify(['--fix'], { ...environment(), BILLING_PRODUCTS: `${productOf(polar, first)},${productOf(dodo, second)}` });
    const missing = `missing polar subscription ${first}\nmissing dodo subscription ${second}\n2 differences (1 missing polar subscription, 1 missing dodo subscription)\n`;
    expect(await verify()).toEqual({ code: 1, output: missing });
    expect(await verify(['--provider', 'dodo'])).toEqual({
      code: 1,
      output: `missing dodo subscription ${second}\n1 difference (1 missing dodo subscription)\n`,
    });
    expect(await fixed()).toEqual({
      code: 0,
      output: `missing polar subscription ${first} (repaired)\nmissing dodo subscription ${second} (repaired)\n2 differences (1 missing polar subscription, 1 missing dodo subscription); 2 repaired, 0 left\n`,
    });
    await db.rows(`UPDATE subscriptions SET status = 'paused', seats = 9 WHERE provider = 'dodo'`);
    await insertUnknown('polar', UNKNOWN_ID);
    expect(await verify()).toEqual({
      code: 1,
      output: `extra polar subscription ${UNKNOWN_ID}\nstale dodo subscription ${second}: status, seats\n2 differences (1 extra polar subscription, 1 stale dodo subscription)\n`,
    });
    expect(await verify(['--fix'])).toMatchObject({ code: 0, output: expect.stringContaining('; 2 repaired, 0 left\n') });
    expect(await verify()).toEqual({ code: 0, output: 'Nothing differs\n' });
  });

  it('prints why it cannot run, and exits with 2', async () => {
    expect(await verify([], {})).toEqual({ code: 2, output: 'No billing provider is configured.\n' });
    expect(await verify(['--provider', 'polar'], dodo.environment)).toEqual({
      code: 2,
      output: 'polar is not configured: there is no key to its API.\n',
    });
    expect(await verify(['--fx'])).toMatchObject({ code: 2, output: expect.stringMatching(/^Unknown option '--fx'\./) });
    const { code, output } = await verify([], { ...polar.environment, POLAR_ACCESS_TOKEN: 'polar_oat_wrong' });
    expect([code, output]).toEqual([2, expect.stringMatching(/^polar could not list subscriptions: 401, invalid_token [^\n]*\n$/)]);
    expect(output).not.toContain('polar_oat_wrong');
  });

  it('repairs nothing with a key for another account, unless forced', async () => {
    await insertUnknown('polar', UNKNOWN_ID);
    const refused = await verify(['--fix']);
    expect([refused.code, refused.output]).toEqual([2, expect.stringMatching(/^polar knows none of our subscriptions: [^\n]*\n$/)]);
    expect(await verify(['--fix', '--force'])).toMatchObject({ code: 0, output: expect.stringContaining('; 1 repaired, 0 left\n') });
  });
});

describe('the nightly job', () => {
  it('continues in another process after a kill', async () => {
    const ids = Array.from({ length: 250 }, () => polar.subscribe());
    const pages = () => polar.calls.flatMap((call) => /[?&]page=(\d+)/.exec(call)?.[1] ?? []);
    const stopped = new Promise<void>((resolve) => {
      polar.control.onCall = (call) => {
        if (!call.includes('page=3')) return;
        polar.control.onCall = undefined;
        polar.faults.push('hang');
        resolve();
      };
    });
    const first = await ready(await startServer(db.url, environment()));
    await stopped;
    expect(pages()).toEqual(['1', '2', '3']);
    first.kill('SIGKILL');
    await first.ended;
    const written = await db.rows('SELECT FROM subscriptions');
    expect(written).toHaveLength(200);
    polar.calls.length = 0;
    await db.rows(`UPDATE job_runs SET leased_until = now() WHERE finished_at IS NULL`);
    const second = await ready(await startServer(db.url, environment()));
    const run = await until('the run is finished', async () => {
      const [found] = await db.rows(
        `SELECT attempts, count, error FROM job_runs WHERE job = 'reconcile_billing' AND finished_at IS NOT NULL ORDER BY tick`,
      );
      return found;
    });
    expect(run).toEqual({ attempts: 2, count: 50, error: null });
    expect(pages()).toEqual(['3']);
    expect(await db.rows(`SELECT provider_subscription_id AS id FROM subscriptions`)).toHaveLength(ids.length);
    expect(await db.rows('SELECT FROM billing_walks')).toEqual([]);
    second.kill('SIGTERM');
    await second.ended;
  });
});

import { v7 } from 'uuid';
import { testEnvironment } from '../../support/app.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { endProcesses, runCommand } from '../../support/processes.js';
import { insertLedgerUsage } from '../../support/usage/ledger-rows.js';

describe('the command usage verify', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await createTestDatabase();
    await db.rows(`CREATE TABLE usage_2026_10 PARTITION OF usage FOR VALUES FROM ('2026-10-01Z') TO ('2026-11-01Z')`);
  });
  afterAll(async () => {
    await endProcesses();
    await db.drop();
  });

  const verify = (...options: string[]) => runCommand(['usage', 'verify', ...options], { env: testEnvironment(db.url) });

  it('prints the differences and exits with 1 until they are repaired', async () => {
    const [owner, other] = [v7(), v7()];
    const event = { occurredAt: '2026-10-05T10:15:00Z', periodStart: '2026-10-01T00:00:00Z', inputTokens: 5 };
    await insertLedgerUsage(db, [
      { ...event, ownerId: owner },
      { ...event, ownerId: other },
    ]);
    expect(await verify()).toEqual({ code: 0, output: 'Nothing differs\n' });

    await db.rows('UPDATE usage_quotas SET used = 6');
    await db.rows('DELETE FROM usage_rollups WHERE owner_id = $1', [owner]);
    const rollup = `missing rollup ${owner} 2026-10-05T10:00:00.000Z gpt-5 -: events 0 instead of 1, inputTokens 0 instead of 5, tokensUsed 0 instead of 5`;
    const quota = (id: string) => `stale quota ${id} 2026-10-01T00:00:00.000Z: used 6 instead of 5`;
    expect(await verify()).toEqual({
      code: 1,
      output: `${rollup}\n${quota(owner)}\n${quota(other)}\n3 differences (1 missing rollup, 2 stale quota)\n`,
    });
    expect(await verify('--owner', other.toUpperCase(), '--fix')).toEqual({
      code: 0,
      output: `${quota(other)} (repaired)\n1 difference (1 stale quota); 1 repaired, 0 left\n`,
    });
    expect(await verify('--fix')).toEqual({
      code: 0,
      output: `${rollup} (repaired)\n${quota(owner)} (repaired)\n2 differences (1 missing rollup, 1 stale quota); 2 repaired, 0 left\n`,
    });

    await db.rows('DELETE FROM usage WHERE owner_id = $1', [owner]);
    const { code, output } = await verify('--fix');
    expect([code, output.trimEnd().split('\n').at(-1)]).toEqual([
      1,
      '3 differences (1 stale rollup, 1 stale quota, 1 stale id count); 2 repaired, 1 left',
    ]);
    expect(output).toContain(`stale id count ${owner}: 1 instead of 0 (left)\n`);
  });

  it('prints a JSON line for each difference and for the summary', async () => {
    const owner = v7();
    await insertLedgerUsage(db, [
      { ownerId: owner, occurredAt: '2026-10-05T10:15:00Z', periodStart: '2026-10-01T00:00:00Z', inputTokens: 5 },
    ]);
    await db.rows('UPDATE usage_quotas SET used = 6 WHERE owner_id = $1', [owner]);
    const { code, output } = await verify('--owner', owner, '--json');
    const id = `${owner} 2026-10-01T00:00:00.000Z`;
    expect([
      code,
      ...output
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ]).toEqual([
      1,
      { type: 'difference', kind: 'stale', resource: 'quota', id, details: ['used 6 instead of 5'], isRepaired: false },
      { type: 'summary', found: 1, repaired: 0, counts: { 'stale quota': { found: 1, repaired: 0 } } },
    ]);
  });

  it('exits with 2 and an explanation for an invalid option', async () => {
    const [noId, unknown] = [await verify('--owner', 'ada'), await verify('--fx')];
    expect(noId).toEqual({
      code: 2,
      output: expect.stringMatching(/^Option '--owner <id>' argument 'ada' is invalid\. Give the id of a user or an organization\.\n/),
    });
    expect(unknown).toEqual({ code: 2, output: expect.stringMatching(/^Unknown option '--fx'\./) });
  });
});

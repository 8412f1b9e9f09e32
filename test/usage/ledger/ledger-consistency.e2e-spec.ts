import { UsageReconciliation } from '../../../src/usage/reconciliation/usage-reconciliation.service.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { type SignedInPerson, signUp } from '../../support/people.js';
import { until } from '../../support/until.js';

describe('the tables of the ledger', () => {
  let db: TestDatabase;
  let apps: TestApp[];
  let people: SignedInPerson[];
  beforeAll(async () => {
    db = await createTestDatabase();
    apps = await Promise.all([startTestApp({}, db), startTestApp({}, db)]);
    people = await Promise.all([signUp(apps[0]!), signUp(apps[0]!)]);
  });
  afterAll(async () => {
    await Promise.all(apps.map((app) => app.close()));
    await db.drop();
  });

  const verify = async (fix = false) => {
    const found: string[] = [];
    await apps[0]!.app.get(UsageReconciliation).reconcile({
      fix,
      onDifference: ({ kind, resource, id, details, isRepaired }) =>
        found.push(`${kind} ${resource} ${id}: ${details.join(', ')}${isRepaired ? ' (repaired)' : ''}`),
    });
    return found;
  };

  /** Records batches, duplicates, late events and holds with every outcome on two processes, until it should stop. */
  const use = async (lane: number, isOver: () => boolean): Promise<number> => {
    const { http } = apps[lane % 2]!;
    const { auth } = people[(lane >> 1) % 2]!;
    const post = async (path: string, body: object) => {
      const { status, body: answer } = await http.post(`/v1/usage${path}`).set(auth).send(body);
      if (status >= 300) throw new Error(`${status} ${JSON.stringify(answer)}`);
      return answer as { id: string };
    };
    let turn = 0;
    for (; turn < 5 || !isOver(); turn += 1) {
      const event = (eventId: string, days = 0) => ({
        eventId,
        model: `model-${turn % 3}`,
        inputTokens: turn,
        outputTokens: 1,
        occurredAt: new Date(Date.UTC(2026, 9, 20 - days, turn % 24)).toISOString(),
      });
      await post('/batch', {
        events: [event(`${lane}-${turn}`), event(`${lane}-${turn}-late`, 40), event(`shared-${turn}`), event(`shared-${turn}`)],
      });
      const { id } = await post('/holds', { estimatedTokens: 10 });
      if (turn % 3 === 0) await post(`/holds/${id}/settle`, { eventId: `${lane}-${turn}-held`, model: 'm', tokens: 12 });
      if (turn % 3 === 1) await http.delete(`/v1/usage/holds/${id}`).set(auth);
    }
    return turn;
  };

  /** Waits for transactions that use the table, because locking its rows in another order could deadlock with one. */
  const changeAll = async (table: string, change: string) => {
    await db.rows(`BEGIN; LOCK TABLE ${table} IN EXCLUSIVE MODE; UPDATE ${table} SET ${change}; COMMIT`);
  };

  it('agree at every moment, and can be repaired during writes', async () => {
    let isOver = false;
    const using = Promise.all([0, 1, 2, 3].map((lane) => use(lane, () => isOver)));
    const counted = async () => (await db.rows('SELECT FROM usage')).length;
    await until(async () => (await counted()) > 20);
    const before = await counted();
    for (let round = 0; round < 5; round += 1) expect(await verify()).toEqual([]);
    await changeAll('usage_quotas', 'used = used + 3, held = held + 2, overrun = overrun - 1');
    await changeAll('usage_rollups', 'tokens_used = tokens_used - 1, events = events + 1');
    const repaired = await verify(true);
    isOver = true;
    await using;
    expect(await counted()).toBeGreaterThan(before);
    expect(repaired.length).toBeGreaterThan(6);
    for (const line of repaired) expect(line).toMatch(/\(repaired\)$/);
    expect(await verify()).toEqual([]);
  });
});

import { randomBytes, randomInt } from 'node:crypto';
import { drizzle } from 'drizzle-orm/node-postgres';
import { newId } from '../../src/platform/crypto/ids.js';
import { usageAlerts } from '../../src/usage/alerts/usage-alerts.table.js';
import { usageHolds } from '../../src/usage/holds/usage-holds.table.js';
import { usageQuotas } from '../../src/usage/quotas/usage-quotas.table.js';
import type { Seed } from '../support/seeds.js';
import { insertUsage } from '../support/usage/usage-rows.js';

const HOUR = 3_600_000;

/** Events, a hold, a quota and alerts of the organization and of its member. */
export const seed: Seed = async (db, { organization, member }) => {
  const holdId = newId();
  // A number that no other row has.
  const used = randomInt(1e11, 1e12);
  const periodStart = new Date(Date.now() - HOUR);
  const secrets = [holdId, String(used)];
  const into = drizzle(db.pool);
  const owners = [
    { kind: 'organization' as const, id: organization.id },
    { kind: 'user' as const, id: member.id },
  ];
  for (const { kind: ownerKind, id: ownerId } of owners) {
    await into.insert(usageHolds).values({ ownerId, id: holdId, periodStart, tokens: 10, expiresAt: new Date(Date.now() + HOUR) });
    await into.insert(usageQuotas).values({ ownerId, ownerKind, periodStart, periodEnd: new Date(Date.now() + 24 * HOUR), used, held: 10 });
    await into
      .insert(usageAlerts)
      .values([50, 80].map((threshold) => ({ ownerId, ownerKind, periodStart, threshold, used, limit: 2 * used })));
    const model = `model-${randomBytes(5).toString('hex')}`;
    const eventIds = [`event-${newId()}`, `event-${newId()}`];
    const occurredAt = new Date().toISOString();
    await insertUsage(
      db,
      { kind: ownerKind, id: ownerId },
      eventIds.map((eventId) => ({ eventId, model, occurredAt, actorUserId: member.id, inputTokens: 1000 })),
    );
    secrets.push(model, ...eventIds);
  }
  return { values: { holdId }, secrets };
};

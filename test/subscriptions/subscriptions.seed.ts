import { drizzle } from 'drizzle-orm/node-postgres';
import { newId } from '../../src/platform/crypto/ids.js';
import type { Owner } from '../../src/owners/owner.js';
import { billingCustomers } from '../../src/subscriptions/customers/billing-customers.table.js';
import { payments } from '../../src/subscriptions/payments/payments.table.js';
import { subscriptions } from '../../src/subscriptions/subscriptions.table.js';
import type { TestDatabase } from '../support/database.js';
import type { Seed } from '../support/seeds.js';

const DAY = 86_400_000;

/** A grant, and a provider subscription for the organization and for its member. */
export const seed: Seed = async (db, { organization, member }) => {
  const subscriptionId = newId();
  const ownerId = organization.id;
  await drizzle(db.pool).insert(subscriptions).values({
    id: subscriptionId,
    provider: 'manual',
    ownerKind: 'organization',
    ownerId,
    ownerLinked: true,
    tier: 'pro',
    status: 'active',
  });
  const bought = [
    await buy(db, { kind: 'organization', id: organization.id }, { cancelAtPeriodEnd: true }),
    await buy(db, { kind: 'user', id: member.id }, { cancelAtPeriodEnd: true }),
  ];
  return { values: { subscriptionId }, secrets: [subscriptionId, ...bought.flat()] };
};

/** Writes a renewing subscription, so that its owner cannot be deleted. */
export async function addRenewingSubscription(db: TestDatabase, owner: Owner): Promise<void> {
  await buy(db, owner, { cancelAtPeriodEnd: false });
}

/** Returns the ids of all rows. */
async function buy(
  db: TestDatabase,
  { kind: ownerKind, id: ownerId }: Owner,
  { cancelAtPeriodEnd }: { cancelAtPeriodEnd: boolean },
): Promise<string[]> {
  const [subscriptionId, paymentId] = [newId(), newId()];
  const [providerCustomerId, providerSubscriptionId, providerPaymentId] = [newId(), newId(), newId()];
  const payer = { provider: 'polar' as const, providerCustomerId, ownerKind, ownerId };
  const into = drizzle(db.pool);
  await into.insert(billingCustomers).values({ id: newId(), ...payer });
  await into.insert(subscriptions).values({
    id: subscriptionId,
    ...payer,
    providerSubscriptionId,
    productId: 'polar-pro',
    status: 'active',
    currentPeriodEnd: new Date(Date.now() + DAY),
    cancelAtPeriodEnd,
  });
  await into.insert(payments).values({
    id: paymentId,
    ...payer,
    kind: 'payment',
    providerPaymentId,
    providerSubscriptionId,
    amount: 1000,
    currency: 'USD',
    status: 'succeeded',
    occurredAt: new Date(),
  });
  return [subscriptionId, paymentId, providerCustomerId, providerSubscriptionId, providerPaymentId];
}

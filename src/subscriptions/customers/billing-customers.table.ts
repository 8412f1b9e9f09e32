import { sql } from 'drizzle-orm';
import { boolean, check, index, pgEnum, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { OWNER_KINDS } from '../../owners/owner.js';
import { eventVersion, time, timestamps } from '../../platform/database/columns.js';
import { BILLING_PROVIDERS } from '../../plans/plans.js';

export const PROVIDERS = [...BILLING_PROVIDERS, 'manual'] as const;
export type Provider = (typeof PROVIDERS)[number];

export const billingProvider = pgEnum('billing_provider', PROVIDERS);
export const ownerKind = pgEnum('owner_kind', OWNER_KINDS);

/** Customers of a provider. Their owner is the default owner of their subscriptions and payments. */
export const billingCustomers = pgTable(
  'billing_customers',
  {
    id: uuid('id').primaryKey(),
    provider: billingProvider('provider').notNull(),
    providerCustomerId: text('provider_customer_id').notNull(),
    /** No foreign key: billing records outlive their owners. */
    ownerKind: ownerKind('owner_kind'),
    ownerId: uuid('owner_id'),
    /** Linked by an operator or by our checkout: claims no longer change the owner. */
    ownerLinked: boolean('owner_linked').notNull().default(false),
    /** Evidence of the owner; see `OwnerClaim`. */
    ownerClaims: text('owner_claims')
      .array()
      .notNull()
      .default(sql`'{}'`),
    deletedAt: time('deleted_at'),
    ...eventVersion(),
    ...timestamps(),
  },
  (table) => [
    unique('billing_customers_provider_customer_key').on(table.provider, table.providerCustomerId),
    index('billing_customers_owner_idx').on(table.ownerId),
    index('billing_customers_claims_idx').using('gin', table.ownerClaims),
    check('billing_customers_owner_whole', sql`(${table.ownerId} IS NULL) = (${table.ownerKind} IS NULL)`),
  ],
);

export type BillingCustomer = typeof billingCustomers.$inferSelect;

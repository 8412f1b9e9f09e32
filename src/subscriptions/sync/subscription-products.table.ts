import { pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { eventVersion } from '../../platform/database/columns.js';
import { subscriptions } from '../subscriptions.table.js';

/** Every product that a subscription ever had. If the newest is in no plan, the newest known one counts. */
export const subscriptionProducts = pgTable(
  'subscription_products',
  {
    subscriptionId: uuid('subscription_id')
      .notNull()
      .references(() => subscriptions.id, { onDelete: 'cascade' }),
    productId: text('product_id').notNull(),
    ...eventVersion(),
  },
  (table) => [primaryKey({ columns: [table.subscriptionId, table.productId] })],
);

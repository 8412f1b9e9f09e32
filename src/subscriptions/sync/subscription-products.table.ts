import { pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { eventVersion } from '../../platform/database/columns.js';
import { subscriptions } from '../subscriptions.table.js';

/** Which products a subscription was ever said to be of: where the newest is unknown here, the last one known counts. */
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

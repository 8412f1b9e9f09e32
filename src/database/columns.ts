import { timestamp } from 'drizzle-orm/pg-core';

/** A moment, to the millisecond: a cursor made from a JS Date must meet the row exactly. */
export const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 });

export const createdAt = () => time('created_at').notNull().defaultNow();

/** What every table that changes has. */
export const timestamps = () => ({
  createdAt: createdAt(),
  updatedAt: time('updated_at')
    .notNull()
    .defaultNow()
    .$onUpdateFn(() => new Date()),
});

import { Inject, Injectable } from '@nestjs/common';
import { and, asc, eq, lt, lte, notExists, or, sql } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { type Price, prices } from './prices.table.js';

export interface PriceFilters {
  model?: string;
  at?: Date;
}

export type PriceKey = Pick<Price, 'model' | 'tokenClass' | 'effectiveFrom'>;

@Injectable()
export class PricesRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async list(
    { model, at }: PriceFilters,
    { limit, after }: { limit: number; after?: PriceKey },
    db: Queryable = this.db,
  ): Promise<Price[]> {
    const afterCursor =
      after &&
      sql`(${prices.model}, ${prices.tokenClass}, ${prices.effectiveFrom}) > (${after.model}, ${after.tokenClass}::token_class, ${after.effectiveFrom.toISOString()}::timestamptz)`;
    return db
      .select()
      .from(prices)
      .where(and(model === undefined ? undefined : eq(prices.model, model), at && this.isInForce(at, db), afterCursor))
      .orderBy(asc(prices.model), asc(prices.tokenClass), asc(prices.effectiveFrom))
      .limit(limit);
  }

  async listBefore(moment: Date, db: Queryable = this.db): Promise<Price[]> {
    return db.select().from(prices).where(lt(prices.effectiveFrom, moment));
  }

  async findAll(keys: PriceKey[], db: Queryable): Promise<Price[]> {
    const matches = keys.map(({ model, tokenClass, effectiveFrom }) =>
      and(eq(prices.model, model), eq(prices.tokenClass, tokenClass), eq(prices.effectiveFrom, effectiveFrom)),
    );
    return db
      .select()
      .from(prices)
      .where(or(...matches));
  }

  async upsert(rows: (typeof prices.$inferInsert)[], db: Queryable): Promise<Price[]> {
    return db
      .insert(prices)
      .values(rows)
      .onConflictDoUpdate({
        target: [prices.model, prices.tokenClass, prices.effectiveFrom],
        set: { microsPerMillion: sql`excluded.micros_per_million`, currency: sql`excluded.currency`, updatedAt: sql`excluded.updated_at` },
      })
      .returning();
  }

  async listCurrencies(db: Queryable = this.db): Promise<string[]> {
    const rows = await db.selectDistinct({ currency: prices.currency }).from(prices);
    return rows.map(({ currency }) => currency);
  }

  private isInForce(at: Date, db: Queryable) {
    const later = alias(prices, 'later');
    const next = db
      .select({ one: sql`1` })
      .from(later)
      .where(
        and(
          eq(later.model, prices.model),
          eq(later.tokenClass, prices.tokenClass),
          sql`${later.effectiveFrom} > ${prices.effectiveFrom}`,
          lte(later.effectiveFrom, at),
        ),
      );
    return and(lte(prices.effectiveFrom, at), notExists(next));
  }
}

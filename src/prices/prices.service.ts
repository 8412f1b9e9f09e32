import { isDeepStrictEqual } from 'node:util';
import { Inject, Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { Clock } from '../platform/time/clock.service.js';
import { InvalidRequest } from '../platform/problems/problems.errors.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { lockNames } from '../platform/database/locks.js';
import type { FieldError } from '../platform/problems/problem.js';
import { DATABASE, type Database } from '../platform/database/database.js';
import { PriceBook } from './price-book.js';
import { OtherCurrency } from './prices.errors.js';
import { type PriceFilters, type PriceKey, PricesRepository } from './prices.repository.js';
import type { Price, TokenClass } from './prices.table.js';
import { HOUR_MS } from '../platform/time/durations.js';

export { roundedMicros } from './price-book.js';
export type { PriceBook, TokenCounts } from './price-book.js';

const FIRST_CURRENCY = 'USD';

export interface NewPrice {
  model: string;
  tokenClass: TokenClass;
  microsPerMillion: number;
  currency?: string;
  effectiveFrom?: Date;
}

/** For usage reports, not for billing. All prices have one currency, so that each group of a report has one sum. */
@Injectable()
export class PricesService {
  constructor(
    private readonly repository: PricesRepository,
    private readonly audit: AuditService,
    private readonly cursors: Cursors,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  async list({ limit, cursor, ...filters }: PriceFilters & { limit: number; cursor?: string }): Promise<Page<Price>> {
    const list = ['prices', filters];
    const position = this.cursors.read(cursor, list);
    const after = position && {
      model: String(position[0]),
      tokenClass: position[1] as TokenClass,
      effectiveFrom: new Date(position[2]!),
    };
    const rows = await this.repository.list(filters, { limit: limit + 1, after });
    const positionOf = ({ model, tokenClass, effectiveFrom }: Price) => [model, tokenClass, effectiveFrom.toISOString()];
    return this.cursors.page(rows, { limit, list, position: positionOf });
  }

  async loadBookBefore(moment: Date): Promise<PriceBook> {
    return new PriceBook(await this.repository.listBefore(moment));
  }

  /**
   * @throws {InvalidRequest} for a time that is not on the hour, or a duplicate of model, class and time
   * @throws {OtherCurrency} if there would be prices in two currencies
   */
  async set(newPrices: NewPrice[], actor: Actor): Promise<Price[]> {
    const now = this.clock.now().getTime();
    const thisHour = new Date(now - (now % HOUR_MS));
    const entries = newPrices.map((price) => ({ ...price, effectiveFrom: price.effectiveFrom ?? thisHour }));
    requireDistinctHours(entries);
    return this.db.transaction(async (tx) => {
      // Concurrent requests must not set prices in two currencies.
      await lockNames('prices', ['book'], tx);
      const [existing] = await this.repository.listCurrencies(tx);
      const currency = newPrices.find((price) => price.currency !== undefined)?.currency ?? existing ?? FIRST_CURRENCY;
      const before = await this.repository.findAll(entries, tx);
      const set = await this.repository.upsert(
        entries.map((price) => ({ ...price, currency: price.currency ?? currency })),
        tx,
      );
      if ((await this.repository.listCurrencies(tx)).length > 1) throw new OtherCurrency();
      const [old, updated] = [auditedPrices(before), auditedPrices(set)];
      if (!isDeepStrictEqual(old, updated))
        await this.audit.record({ actor, action: 'prices.set', target: { type: 'prices', id: 'book' }, before: old, after: updated }, tx);
      const byKey = new Map(set.map((price) => [priceKey(price), price]));
      return entries.map((entry) => byKey.get(priceKey(entry))!);
    });
  }
}

function requireDistinctHours(entries: PriceKey[]): void {
  const names = entries.map(priceKey);
  const errors = entries.flatMap(({ effectiveFrom }, index): FieldError[] => {
    const field = `prices.${index}`;
    if (effectiveFrom.getTime() % HOUR_MS !== 0)
      return [{ field: `${field}.effectiveFrom`, message: 'effectiveFrom must be on the hour, as in 2026-01-01T00:00:00Z' }];
    if (names.indexOf(names[index]!) < index)
      return [{ field, message: 'duplicates the model, tokenClass and effectiveFrom of an earlier price' }];
    return [];
  });
  if (errors.length > 0) throw new InvalidRequest({ errors });
}

function auditedPrices(rows: Price[]): object {
  return Object.fromEntries(rows.map((price) => [priceKey(price), `${price.microsPerMillion} ${price.currency}`]));
}

function priceKey({ model, tokenClass, effectiveFrom }: PriceKey): string {
  return `${model} ${tokenClass} ${effectiveFrom.toISOString()}`;
}

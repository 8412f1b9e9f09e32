import { Inject, Injectable } from '@nestjs/common';
import { and, eq, gt, lt, not, or, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { idempotencyKeys } from './idempotency-keys.table.js';

export interface RequestIdentity {
  principal: string;
  method: string;
  route: string;
  key: string;
  /** The key as it was sent. Earlier versions stored keys with their quotes. */
  rawKey?: string;
}

const LIFETIME = sql`interval '24 hours'`;

@Injectable()
export class IdempotencyRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Locks this key until the transaction ends. Returns false if another transaction holds the lock. */
  async tryLock({ principal, method, route, key }: RequestIdentity, db: Queryable): Promise<boolean> {
    const name = JSON.stringify([principal, method, route, key]);
    const { rows } = await db.execute<{ locked: boolean }>(sql`SELECT pg_try_advisory_xact_lock(hashtextextended(${name}, 0)) AS locked`);
    return rows[0]?.locked === true;
  }

  async find(identity: RequestIdentity, db: Queryable): Promise<{ requestHash: string; answer: string } | undefined> {
    const [row] = await db
      .select({ requestHash: idempotencyKeys.requestHash, answer: idempotencyKeys.answer })
      .from(idempotencyKeys)
      .where(and(matchesWithOrWithoutQuotes(identity), gt(idempotencyKeys.createdAt, sql`now() - ${LIFETIME}`)));
    return row;
  }

  async insert(identity: RequestIdentity, requestHash: string, response: string, db: Queryable): Promise<void> {
    const { principal, method, route, key } = identity;
    await db.delete(idempotencyKeys).where(and(matches(identity), lt(idempotencyKeys.createdAt, sql`now() - ${LIFETIME}`)));
    await db.insert(idempotencyKeys).values({ principal, method, route, key, requestHash, answer: response });
  }

  async lockUnderOlderKeys(keyId: string, limit: number, db: Queryable): Promise<(RequestIdentity & { answer: string })[]> {
    const { principal, method, route, key, answer } = idempotencyKeys;
    return db
      .select({ principal, method, route, key, answer })
      .from(idempotencyKeys)
      .where(not(sql`starts_with(${answer}, ${`${keyId}.`})`))
      .limit(limit)
      .for('update');
  }

  async updateAnswer(identity: RequestIdentity, response: string, db: Queryable): Promise<void> {
    await db.update(idempotencyKeys).set({ answer: response }).where(matches(identity));
  }

  async deleteOld(limit: number, db: Queryable = this.db): Promise<number> {
    const old = sql`SELECT ctid FROM ${idempotencyKeys} WHERE ${idempotencyKeys.createdAt} < now() - ${LIFETIME} LIMIT ${limit} FOR UPDATE SKIP LOCKED`;
    const { rowCount } = await db.execute(sql`DELETE FROM ${idempotencyKeys} WHERE ctid = ANY (ARRAY(${old}))`);
    return rowCount ?? 0;
  }
}

function matchesWithOrWithoutQuotes(identity: RequestIdentity) {
  const { key, rawKey = key } = identity;
  return rawKey === key ? matches(identity) : or(matches(identity), matches({ ...identity, key: rawKey }));
}

function matches({ principal, method, route, key }: RequestIdentity) {
  return and(
    eq(idempotencyKeys.principal, principal),
    eq(idempotencyKeys.method, method),
    eq(idempotencyKeys.route, route),
    eq(idempotencyKeys.key, key),
  );
}

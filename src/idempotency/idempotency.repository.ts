import { Inject, Injectable } from '@nestjs/common';
import { and, eq, gt, lt, not, or, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { idempotencyKeys } from './idempotency-keys.table.js';

export interface IdempotencyIdentity {
  principal: string;
  method: string;
  route: string;
  key: string;
  /** The header as it was sent: earlier versions stored keys with their quotes. */
  headerValue?: string;
}

const LIFETIME = sql`interval '24 hours'`;

@Injectable()
export class IdempotencyRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Returns false while another transaction holds the lock. */
  async tryLock({ principal, method, route, key }: IdempotencyIdentity, db: Queryable): Promise<boolean> {
    const name = JSON.stringify([principal, method, route, key]);
    const { rows } = await db.execute<{ locked: boolean }>(sql`SELECT pg_try_advisory_xact_lock(hashtextextended(${name}, 0)) AS locked`);
    return rows[0]?.locked === true;
  }

  async find(identity: IdempotencyIdentity, db: Queryable): Promise<{ requestHash: string; answer: string } | undefined> {
    const [row] = await db
      .select({ requestHash: idempotencyKeys.requestHash, answer: idempotencyKeys.answer })
      .from(idempotencyKeys)
      .where(and(hasIdentityOrQuotedKey(identity), gt(idempotencyKeys.createdAt, sql`now() - ${LIFETIME}`)));
    return row;
  }

  async insert(identity: IdempotencyIdentity, requestHash: string, answer: string, db: Queryable): Promise<void> {
    const { principal, method, route, key } = identity;
    await db.delete(idempotencyKeys).where(and(hasIdentity(identity), lt(idempotencyKeys.createdAt, sql`now() - ${LIFETIME}`)));
    await db.insert(idempotencyKeys).values({ principal, method, route, key, requestHash, answer });
  }

  async lockUnderOlderKeys(keyId: string, limit: number, db: Queryable): Promise<(IdempotencyIdentity & { answer: string })[]> {
    const { principal, method, route, key, answer } = idempotencyKeys;
    return db
      .select({ principal, method, route, key, answer })
      .from(idempotencyKeys)
      .where(not(sql`starts_with(${answer}, ${`${keyId}.`})`))
      .limit(limit)
      .for('update');
  }

  async updateAnswer(identity: IdempotencyIdentity, answer: string, db: Queryable): Promise<void> {
    await db.update(idempotencyKeys).set({ answer }).where(hasIdentity(identity));
  }

  async deleteOld(limit: number, db: Queryable = this.db): Promise<number> {
    const old = sql`SELECT ctid FROM ${idempotencyKeys} WHERE ${idempotencyKeys.createdAt} < now() - ${LIFETIME} LIMIT ${limit} FOR UPDATE SKIP LOCKED`;
    const { rowCount } = await db.execute(sql`DELETE FROM ${idempotencyKeys} WHERE ctid = ANY (ARRAY(${old}))`);
    return rowCount ?? 0;
  }
}

function hasIdentityOrQuotedKey(identity: IdempotencyIdentity) {
  const { key, headerValue = key } = identity;
  return headerValue === key ? hasIdentity(identity) : or(hasIdentity(identity), hasIdentity({ ...identity, key: headerValue }));
}

function hasIdentity({ principal, method, route, key }: IdempotencyIdentity) {
  return and(
    eq(idempotencyKeys.principal, principal),
    eq(idempotencyKeys.method, method),
    eq(idempotencyKeys.route, route),
    eq(idempotencyKeys.key, key),
  );
}

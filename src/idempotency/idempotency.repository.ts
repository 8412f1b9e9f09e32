import { Inject, Injectable } from '@nestjs/common';
import { and, eq, gt, lt, not, or, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { idempotencyKeys } from './idempotency-keys.table.js';

export interface Identity {
  principal: string;
  method: string;
  route: string;
  key: string;
  /** The header as it was sent: earlier versions stored keys with their quotes. */
  writtenAs?: string;
}

const LIFETIME = sql`interval '24 hours'`;

@Injectable()
export class IdempotencyRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Returns false while another transaction holds the lock. */
  async tryLock({ principal, method, route, key }: Identity, db: Queryable): Promise<boolean> {
    const name = JSON.stringify([principal, method, route, key]);
    const { rows } = await db.execute<{ locked: boolean }>(sql`SELECT pg_try_advisory_xact_lock(hashtextextended(${name}, 0)) AS locked`);
    return rows[0]?.locked === true;
  }

  async find(identity: Identity, db: Queryable): Promise<{ requestHash: string; answer: string } | undefined> {
    const [row] = await db
      .select({ requestHash: idempotencyKeys.requestHash, answer: idempotencyKeys.answer })
      .from(idempotencyKeys)
      .where(and(isEither(identity), gt(idempotencyKeys.createdAt, sql`now() - ${LIFETIME}`)));
    return row;
  }

  async insert(identity: Identity, requestHash: string, answer: string, db: Queryable): Promise<void> {
    const { principal, method, route, key } = identity;
    await db.delete(idempotencyKeys).where(and(is(identity), lt(idempotencyKeys.createdAt, sql`now() - ${LIFETIME}`)));
    await db.insert(idempotencyKeys).values({ principal, method, route, key, requestHash, answer });
  }

  async lockNotUnderKey(keyId: string, limit: number, db: Queryable): Promise<(Identity & { answer: string })[]> {
    const { principal, method, route, key, answer } = idempotencyKeys;
    return db
      .select({ principal, method, route, key, answer })
      .from(idempotencyKeys)
      .where(not(sql`starts_with(${answer}, ${`${keyId}.`})`))
      .limit(limit)
      .for('update');
  }

  async updateAnswer(identity: Identity, answer: string, db: Queryable): Promise<void> {
    await db.update(idempotencyKeys).set({ answer }).where(is(identity));
  }

  async deleteOld(limit: number, db: Queryable = this.db): Promise<number> {
    const old = sql`SELECT ctid FROM ${idempotencyKeys} WHERE ${idempotencyKeys.createdAt} < now() - ${LIFETIME} LIMIT ${limit} FOR UPDATE SKIP LOCKED`;
    const { rowCount } = await db.execute(sql`DELETE FROM ${idempotencyKeys} WHERE ctid = ANY (ARRAY(${old}))`);
    return rowCount ?? 0;
  }
}

function isEither(identity: Identity) {
  const { key, writtenAs = key } = identity;
  return writtenAs === key ? is(identity) : or(is(identity), is({ ...identity, key: writtenAs }));
}

function is({ principal, method, route, key }: Identity) {
  return and(
    eq(idempotencyKeys.principal, principal),
    eq(idempotencyKeys.method, method),
    eq(idempotencyKeys.route, route),
    eq(idempotencyKeys.key, key),
  );
}

import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, gt, isNull, or, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { rowsOfPeople } from '../platform/database/statements/lists.js';
import { type ApiKey, apiKeys } from './api-keys.table.js';

@Injectable()
export class ApiKeysRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async list(
    organizationId: string,
    { limit, after }: { limit: number; after?: { createdAt: string; id: string } },
    db: Queryable = this.db,
  ): Promise<ApiKey[]> {
    const afterCursor = after && sql`(${apiKeys.createdAt}, ${apiKeys.id}) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`;
    return db
      .select()
      .from(apiKeys)
      .where(and(eq(apiKeys.organizationId, organizationId), afterCursor))
      .orderBy(desc(apiKeys.createdAt), desc(apiKeys.id))
      .limit(limit);
  }

  async insert(key: typeof apiKeys.$inferInsert, db: Queryable): Promise<ApiKey> {
    const [inserted] = await db.insert(apiKeys).values(key).returning();
    return inserted!;
  }

  async lockLive(organizationId: string, apiKeyId: string, db: Queryable): Promise<ApiKey | undefined> {
    const [key] = await db
      .select()
      .from(apiKeys)
      .where(
        and(
          eq(apiKeys.organizationId, organizationId),
          eq(apiKeys.id, apiKeyId),
          or(isNull(apiKeys.revokedAt), gt(apiKeys.revokedAt, sql`now()`)),
          or(isNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, sql`now()`)),
        ),
      )
      .for('update');
    return key;
  }

  async revokeCreatedBy(people: { organizationId: string; userId: string }[], db: Queryable): Promise<ApiKey[]> {
    const isLive = or(isNull(apiKeys.revokedAt), gt(apiKeys.revokedAt, sql`now()`));
    return db
      .update(apiKeys)
      .set({ revokedAt: sql`now()` })
      .where(and(sql`(${apiKeys.organizationId}, ${apiKeys.createdBy}) IN (SELECT * FROM ${rowsOfPeople(people)})`, isLive))
      .returning();
  }

  /** By the database's clock, which the guard uses too. An earlier end stays. Returns the end. */
  async revokeAfter(apiKeyId: string, seconds: number, db: Queryable): Promise<Date | null> {
    const [key] = await db
      .update(apiKeys)
      .set({ revokedAt: sql`least(${apiKeys.revokedAt}, now() + ${seconds} * interval '1 second')` })
      .where(eq(apiKeys.id, apiKeyId))
      .returning({ revokedAt: apiKeys.revokedAt });
    return key?.revokedAt ?? null;
  }
}

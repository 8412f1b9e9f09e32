import { Inject, Injectable } from '@nestjs/common';
import { and, eq } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { purgedIds } from './purged-ids.table.js';

export type PurgedKind = 'user' | 'organization' | 'membership' | 'invitation';

/** Stores the provider ids of purged rows, so that a replay years later does not create them again. */
@Injectable()
export class PurgedIds {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Local rows have no provider id: nulls are skipped. */
  async add(provider: string, kind: PurgedKind, ids: (string | null)[], db: Queryable): Promise<void> {
    const rows = ids.flatMap((externalId) => (externalId === null ? [] : [{ provider, kind, externalId }]));
    if (rows.length > 0) await db.insert(purgedIds).values(rows).onConflictDoNothing();
  }

  async has(provider: string, kind: PurgedKind, externalId: string, db: Queryable = this.db): Promise<boolean> {
    const [row] = await db
      .select({ externalId: purgedIds.externalId })
      .from(purgedIds)
      .where(and(eq(purgedIds.provider, provider), eq(purgedIds.kind, kind), eq(purgedIds.externalId, externalId)));
    return row !== undefined;
  }
}

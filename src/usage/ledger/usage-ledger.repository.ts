import { Inject, Injectable } from '@nestjs/common';
import { sql } from 'drizzle-orm';
import { memberships } from '../../memberships/organization-memberships.table.js';
import { organizations } from '../../organizations/organizations.table.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { allInOrder, arraysOf, type Columns, given, sendStatement, statement } from '../../platform/database/statement.js';
import { users } from '../../users/users.table.js';
import { UsageEventsRepository } from '../events/usage-events.repository.js';
import type { EventIdKey } from '../events/usage-events.table.js';
import { type HoldKey, UsageHoldsRepository } from '../holds/usage-holds.repository.js';
import { UsageQuotasRepository } from '../quotas/usage-quotas.repository.js';
import type { QuotaKey, UsageQuota } from '../quotas/usage-quotas.table.js';
import { UsageRollupsRepository } from '../rollups/usage-rollups.repository.js';
import type { LedgerSnapshot, LedgerWrites } from './ledger-snapshot.js';

export interface MemberKey {
  organizationId: string;
  userId: string;
}

// A plan made while a table was small would scan all of it until the next ANALYZE. And for few rows PostgreSQL would plan
// each statement again each time, which takes longer than running it.
const USE_INDEXES = statement(
  sql`SELECT set_config('enable_seqscan', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)`,
);

const MEMBER: Columns<MemberKey> = {
  organization_id: ['uuid', (pair) => pair.organizationId],
  user_id: ['uuid', (pair) => pair.userId],
};
const LIST_MEMBERS = statement(sql`SELECT DISTINCT m.organization_id, m.user_id FROM ${memberships} AS m
  JOIN ${given(MEMBER)} ON given.organization_id = m.organization_id AND given.user_id = m.user_id`);

/** The reads and writes of the ledger's transaction, in the order that its locks need. */
@Injectable()
export class UsageLedgerRepository {
  private readonly creationTimes;

  constructor(
    private readonly quotas: UsageQuotasRepository,
    private readonly holds: UsageHoldsRepository,
    private readonly events: UsageEventsRepository,
    private readonly rollups: UsageRollupsRepository,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.creationTimes = selectCreationTimes(db).prepare('usage_creation_times');
  }

  async listCreationTimes(ownerIds: string[]): Promise<{ id: string; createdAt: Date }[]> {
    return this.creationTimes.execute({ ids: ownerIds });
  }

  async listMembers(pairs: MemberKey[]): Promise<MemberKey[]> {
    const { rows } = await sendStatement<{ organization_id: string; user_id: string }>(LIST_MEMBERS(arraysOf(MEMBER, pairs)), this.db);
    return rows.map((row) => ({ organizationId: row.organization_id, userId: row.user_id }));
  }

  /** The statements run in this order, so recorded events are read after the quotas are locked. */
  async lockQuotas(
    keys: QuotaKey[],
    events: EventIdKey[] | undefined,
    tx: Queryable,
  ): Promise<Pick<LedgerSnapshot, 'quotas' | 'recordedIds'>> {
    const [, quotas, recordedIds] = await allInOrder([
      sendStatement(USE_INDEXES({}), tx),
      this.quotas.lock(keys, tx),
      events && this.listRecorded(events, tx),
    ]);
    return { quotas, recordedIds };
  }

  /** The quotas of the events are locked. */
  async listRecorded(events: EventIdKey[], tx: Queryable): Promise<NonNullable<LedgerSnapshot['recordedIds']>> {
    return events.length === 0 ? [] : this.events.listRecorded(events, tx);
  }

  /** Expires holds of the locked quotas and reads others. Most batches have no holds and skip both statements. */
  async readHolds(
    quotas: UsageQuota[],
    keys: QuotaKey[],
    { holdKeys, now, tx }: { holdKeys: HoldKey[]; now: Date; tx: Queryable },
  ): Promise<Pick<LedgerSnapshot, 'expiredHolds' | 'holds'>> {
    const [expiredHolds, holds] = await allInOrder([
      quotas.every(({ held }) => held === 0) ? [] : this.holds.expireOfQuotas(keys, now, tx),
      holdKeys.length === 0 ? [] : this.holds.list(holdKeys, tx),
    ]);
    return { expiredHolds, holds };
  }

  /** Hands the writes to the connection before it returns, so that COMMIT travels right behind them. */
  async write({ events, rollups, quotas, newHolds, endedHolds }: Omit<LedgerWrites, 'alerts'>, now: Date, tx: Queryable): Promise<void> {
    await allInOrder([
      events.length === 0 ? undefined : this.events.insertIds(events, now, tx),
      events.length === 0 ? undefined : this.events.insertRecords(events, now, tx),
      rollups.length === 0 ? undefined : this.rollups.add(rollups, now, tx),
      newHolds.length === 0 ? undefined : this.holds.insert(newHolds, now, tx),
      endedHolds.length === 0 ? undefined : this.holds.end(endedHolds, now, tx),
      quotas.length === 0 ? undefined : this.quotas.update(quotas, now, tx),
    ]);
  }
}

function selectCreationTimes(db: Database) {
  const of = (table: typeof users | typeof organizations) =>
    db
      .select({ id: table.id, createdAt: table.createdAt })
      .from(table)
      // Out of the planner's sight, or it would plan again each time for a shorter list than usual.
      .where(sql`${table.id} = ANY ((SELECT ${sql.placeholder('ids')}::uuid[])::uuid[])`);
  return of(users).unionAll(of(organizations));
}

import { Injectable } from '@nestjs/common';
import { sql } from 'drizzle-orm';
import type { Queryable } from '../../platform/database/database.js';
import { arraysOf, type Columns, given, namesOf, NOW, sendStatement, statement } from '../../platform/database/statement.js';
import { type UsageRollup, usageRollups } from './usage-rollups.table.js';

const ROLLUP: Columns<UsageRollup> = {
  owner_id: ['uuid', (rollup) => rollup.ownerId],
  model: ['text', (rollup) => rollup.model],
  actor_user_id: ['uuid', (rollup) => rollup.actorUserId],
  input_tokens: ['bigint', (rollup) => rollup.inputTokens],
  output_tokens: ['bigint', (rollup) => rollup.outputTokens],
  cached_input_tokens: ['bigint', (rollup) => rollup.cachedInputTokens],
  reasoning_tokens: ['bigint', (rollup) => rollup.reasoningTokens],
  tokens_used: ['bigint', (rollup) => rollup.tokensUsed],
  overrun: ['bigint', (rollup) => rollup.overrun],
  hour: ['timestamptz', (rollup) => rollup.hour.getTime()],
  events: ['bigint', (rollup) => rollup.events],
};
const SUMS = Object.keys(ROLLUP).filter((name) => ROLLUP[name]![0] === 'bigint');
const ADD = statement(sql`INSERT INTO ${usageRollups} AS r (${namesOf(ROLLUP)})
  SELECT * FROM ${given(ROLLUP)} ORDER BY owner_id, hour, model, actor_user_id
  ON CONFLICT (owner_id, hour, model, actor_user_id)
  DO UPDATE SET ${sql.raw(SUMS.map((name) => `${name} = r.${name} + excluded.${name}`).join(', '))}, updated_at = ${NOW}`);

@Injectable()
export class UsageRollupsRepository {
  async add(rollups: UsageRollup[], at: Date, db: Queryable): Promise<void> {
    await sendStatement(ADD({ ...arraysOf(ROLLUP, rollups), now: at.toISOString() }), db);
  }
}

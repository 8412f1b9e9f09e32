import { ApiProperty, ApiSchema, IntersectionType } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsBoolean, IsIn, IsOptional, IsString, IsTimeZone, IsUUID, Length, MaxLength } from 'class-validator';
import type { Page } from '../../platform/pagination/cursors.service.js';
import { IsTime } from '../../platform/time/is-time.js';
import { ListQuery } from '../../platform/pagination/list.dto.js';
import { booleanOf } from '../../platform/http/bodies/transforms.js';
import type { UsageRecord } from '../events/usage-events.table.js';
import { GROUPINGS, type UsageGrouping, type UsageSummary } from './usage-reports.service.js';
import type { UsageCost, UsageGroup, UsageTotal } from './usage-summary.js';

class UsageRecordsQuery {
  /** Only events at or after this time. A date alone, such as 2026-11-01, means midnight in `timeZone`. @example "2026-11-01T00:00:00Z" */
  @IsOptional()
  @IsTime({ zoneIn: 'timeZone' })
  from?: Date;

  /** Only events before this time. A date alone, such as 2026-12-01, means midnight in `timeZone`. @example "2026-12-01T00:00:00Z" */
  @IsOptional()
  @IsTime({ zoneIn: 'timeZone' })
  to?: Date;

  /** The IANA time zone of dates in `from` and `to`. @example "Asia/Kolkata" */
  @MaxLength(100)
  @IsTimeZone({ message: '$property must be a time zone such as Europe/Berlin' })
  timeZone: string = 'UTC';

  /** Only events of this model. @example "gpt-5-mini" */
  @IsOptional()
  @IsString()
  @Length(1, 200)
  model?: string;

  /** Only events that this user caused. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @IsOptional()
  @IsUUID()
  userId?: string;
}

export class ListUsageQuery extends IntersectionType(ListQuery, UsageRecordsQuery) {}

export class ExportUsageQuery extends UsageRecordsQuery {
  /** Starts the file with a byte order mark, which Excel needs to read it as UTF-8. @example true */
  @Transform(booleanOf)
  @IsBoolean()
  bom: boolean = false;
}

export class SummarizeUsageQuery {
  /** Only usage at or after this time; by default 30 days before `to`. A date alone means midnight in `timeZone`. @example "2026-11-01T00:00:00Z" */
  @IsOptional()
  @IsTime({ zoneIn: 'timeZone' })
  from?: Date;

  /** Only usage before this time; by default the end of the current hour. A date alone means midnight in `timeZone`. @example "2026-12-01T00:00:00Z" */
  @IsOptional()
  @IsTime({ zoneIn: 'timeZone' })
  to?: Date;

  /** Days, weeks (from Monday) and months follow the time zone. Hours are UTC hours. */
  @ApiProperty({ enum: GROUPINGS, required: false, example: 'day' })
  @IsIn(GROUPINGS)
  groupBy: UsageGrouping = 'day';

  /** The IANA time zone of days, weeks and months, and of dates in `from` and `to`. @example "Asia/Kolkata" */
  @MaxLength(100)
  @IsTimeZone({ message: '$property must be a time zone such as Europe/Berlin' })
  timeZone: string = 'UTC';

  /** Adds costs, by the prices in force at each time. @example true */
  @Transform(booleanOf)
  @IsBoolean()
  cost: boolean = false;
}

/** The disjoint token classes, which events and sums share. */
class TokenClassesResponse {
  /** Input tokens that were not read from a cache. @example 1200 */
  @ApiProperty({ type: 'integer' })
  inputTokens!: number;

  /** Output tokens without reasoning. @example 300 */
  @ApiProperty({ type: 'integer' })
  outputTokens!: number;

  /** Input tokens read from a cache. @example 800 */
  @ApiProperty({ type: 'integer' })
  cachedInputTokens!: number;

  /** Reasoning tokens. @example 200 */
  @ApiProperty({ type: 'integer' })
  reasoningTokens!: number;
}

@ApiSchema({ description: 'A usage event. The token classes are disjoint.' })
export class UsageRecordResponse extends TokenClassesResponse {
  /** The caller’s id of the event. @example "run-7731-step-2" */
  eventId!: string;

  /** The user who caused it; null if none was named. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid', nullable: true })
  userId!: string | null;

  /** The model. @example "gpt-5-mini" */
  model!: string;

  /** The sum of the classes, or the plain total if no classes were sent. @example 2500 */
  @ApiProperty({ type: 'integer' })
  tokens!: number;

  /** The part of `tokens` that was settled beyond its hold. @example 0 */
  @ApiProperty({ type: 'integer' })
  overrun!: number;

  /** The hold that the event settled. @example null */
  @ApiProperty({ format: 'uuid', nullable: true })
  holdId!: string | null;

  /** The caller’s own data. */
  @ApiProperty({
    type: 'object',
    nullable: true,
    additionalProperties: { oneOf: [{ type: 'string' }, { type: 'number' }, { type: 'boolean' }] },
    example: { feature: 'summary', cached: true },
  })
  metadata!: Record<string, string | number | boolean> | null;

  /** When the tokens were used. */
  @ApiProperty({ format: 'date-time' })
  occurredAt!: Date;

  /** When the event was recorded. */
  @ApiProperty({ format: 'date-time' })
  createdAt!: Date;

  static of({ tokensUsed: tokens, actorUserId: userId, ...record }: UsageRecord): UsageRecordResponse {
    const { eventId, model, inputTokens, outputTokens, cachedInputTokens, reasoningTokens, overrun, holdId, metadata } = record;
    const { occurredAt, createdAt } = record;
    return {
      eventId,
      userId,
      model,
      inputTokens,
      outputTokens,
      cachedInputTokens,
      reasoningTokens,
      tokens,
      overrun,
      holdId,
      metadata,
      occurredAt,
      createdAt,
    };
  }
}

@ApiSchema({ description: 'A page of usage events.' })
export class UsageListResponse {
  /** The events, the newest first. */
  data!: UsageRecordResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<UsageRecord>): UsageListResponse {
    return { data: data.map(UsageRecordResponse.of), nextCursor };
  }
}

@ApiSchema({ description: 'The cost by the price book. It is rounded once, so the sum of groups may differ a little.' })
export class UsageCostResponse {
  /** Millionths of the currency’s unit: 2.50 USD are 2500000. @example 1250000 */
  @ApiProperty({ type: 'integer' })
  micros!: number;

  /** ISO 4217; null if nothing has a price. @example "USD" */
  currency!: string | null;

  /** Tokens without a price. They are not part of `micros`. @example 0 */
  @ApiProperty({ type: 'integer' })
  unpricedTokens!: number;

  static of({ micros, currency, unpricedTokens }: UsageCost): UsageCostResponse {
    return { micros, currency, unpricedTokens };
  }
}

@ApiSchema({ description: 'Sums of usage.' })
export class UsageTotalResponse extends TokenClassesResponse {
  /** The number of events. @example 42 */
  @ApiProperty({ type: 'integer' })
  events!: number;

  /** All tokens, including plain totals. @example 2500 */
  @ApiProperty({ type: 'integer' })
  tokens!: number;

  /** The part of `tokens` that was settled beyond its hold. @example 0 */
  @ApiProperty({ type: 'integer' })
  overrun!: number;

  /** The cost, if `cost` was set. */
  cost?: UsageCostResponse;

  static of({ tokensUsed: tokens, cost, ...sums }: UsageTotal): UsageTotalResponse {
    const { events, inputTokens, outputTokens, cachedInputTokens, reasoningTokens, overrun } = sums;
    return {
      events,
      inputTokens,
      outputTokens,
      cachedInputTokens,
      reasoningTokens,
      tokens,
      overrun,
      cost: cost && UsageCostResponse.of(cost),
    };
  }
}

@ApiSchema({ description: 'Usage of a part of the time, of a model or of a user.' })
export class UsageGroupResponse extends UsageTotalResponse {
  /** The day, the Monday of a week, the month, the start of an hour, the model or the user’s id; null for usage without a user. @example "2026-11-01" */
  key!: string | null;

  /** The start within the requested time; null for models and users. */
  start!: Date | null;

  /** The end, exclusive, within the requested time; null for models and users. */
  end!: Date | null;

  static override of({ key, start, end, ...total }: UsageGroup): UsageGroupResponse {
    return { key, start, end, ...UsageTotalResponse.of(total) };
  }
}

@ApiSchema({ description: 'Usage, summed up.' })
export class UsageSummaryResponse {
  /** The start of the summed time. */
  @ApiProperty({ format: 'date-time' })
  from!: Date;

  /** The end of the summed time, exclusive. */
  @ApiProperty({ format: 'date-time' })
  to!: Date;

  /** The time zone of days, weeks and months. @example "UTC" */
  timeZone!: string;

  /** The grouping. */
  @ApiProperty({ enum: GROUPINGS, example: 'day' })
  groupBy!: UsageGrouping;

  /** Times in order and without gaps; models and users by tokens, descending. */
  data!: UsageGroupResponse[];

  /** The sums of all groups. */
  total!: UsageTotalResponse;

  static of({ from, to, timeZone, groupBy, groups, total }: UsageSummary): UsageSummaryResponse {
    return { from, to, timeZone, groupBy, data: groups.map(UsageGroupResponse.of), total: UsageTotalResponse.of(total) };
  }
}

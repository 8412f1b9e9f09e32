import { ApiProperty, ApiSchema, IntersectionType } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsBoolean, IsIn, IsOptional, IsString, IsTimeZone, IsUUID, Length, MaxLength } from 'class-validator';
import type { Page } from '../../platform/pagination/cursors.service.js';
import { IsTime } from '../../platform/time/is-time.js';
import { ListQuery } from '../../platform/pagination/list.dto.js';
import { booleanOf } from '../../platform/http/bodies/transforms.js';
import type { UsageRecord } from './usage-reports.repository.js';
import { GROUPINGS, type UsageGrouping, type UsageSummary } from './usage-reports.service.js';
import type { UsageCost, UsageGroup, UsageTotal } from './usage-summary.js';

/** Which records are meant. */
class UsageRecordsQuery {
  /** Used at this time or later. A day alone, as in 2026-11-01, starts at midnight in `timeZone`. @example "2026-11-01T00:00:00Z" */
  @IsOptional()
  @IsTime({ zoneIn: 'timeZone' })
  from?: Date;

  /** Used before this time. A day alone, as in 2026-12-01, starts at midnight in `timeZone`. @example "2026-12-01T00:00:00Z" */
  @IsOptional()
  @IsTime({ zoneIn: 'timeZone' })
  to?: Date;

  /** The IANA time zone of days alone in `from` and `to`. @example "Asia/Kolkata" */
  @MaxLength(100)
  @IsTimeZone({ message: '$property must be a time zone as in Europe/Berlin' })
  timeZone: string = 'UTC';

  /** Only of this model. @example "gpt-5-mini" */
  @IsOptional()
  @IsString()
  @Length(1, 200)
  model?: string;

  /** Only what this user caused. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @IsOptional()
  @IsUUID()
  userId?: string;
}

export class ListUsageQuery extends IntersectionType(ListQuery, UsageRecordsQuery) {}

export class ExportUsageQuery extends UsageRecordsQuery {
  /** Whether the file begins with a byte order mark, without which Excel does not read it as UTF-8. @example true */
  @Transform(booleanOf)
  @IsBoolean()
  bom: boolean = false;
}

export class SummarizeUsageQuery {
  /** Used at this time or later; 30 days before `to` when left out. A day alone starts at midnight in `timeZone`. @example "2026-11-01T00:00:00Z" */
  @IsOptional()
  @IsTime({ zoneIn: 'timeZone' })
  from?: Date;

  /** Used before this time; the end of this hour when left out. A day alone starts at midnight in `timeZone`. @example "2026-12-01T00:00:00Z" */
  @IsOptional()
  @IsTime({ zoneIn: 'timeZone' })
  to?: Date;

  /** Days, weeks (from Monday on) and months are those of the time zone; hours are those of UTC. */
  @ApiProperty({ enum: GROUPINGS, required: false, example: 'day' })
  @IsIn(GROUPINGS)
  groupBy: UsageGrouping = 'day';

  /** The IANA time zone whose calendar cuts days, weeks and months, and of days alone in `from` and `to`. @example "Asia/Kolkata" */
  @MaxLength(100)
  @IsTimeZone({ message: '$property must be a time zone as in Europe/Berlin' })
  timeZone: string = 'UTC';

  /** Whether to tell what it cost, by the prices of each hour. @example true */
  @Transform(booleanOf)
  @IsBoolean()
  cost: boolean = false;
}

@ApiSchema({ description: 'One thing that was used. No token is in two of the classes.' })
export class UsageRecordResponse {
  /** The caller’s id of it. @example "run-7731-step-2" */
  eventId!: string;

  /** Who caused it; null where nobody was named. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid', nullable: true })
  userId!: string | null;

  /** The model. @example "gpt-5-mini" */
  model!: string;

  /** Tokens of the prompt that were not cached. @example 1200 */
  @ApiProperty({ type: 'integer' })
  inputTokens!: number;

  /** Tokens of the answer, without reasoning. @example 300 */
  @ApiProperty({ type: 'integer' })
  outputTokens!: number;

  /** Tokens of the prompt that came from a cache. @example 800 */
  @ApiProperty({ type: 'integer' })
  cachedInputTokens!: number;

  /** Tokens that were thought and not shown. @example 200 */
  @ApiProperty({ type: 'integer' })
  reasoningTokens!: number;

  /** All of them, or the plain total where no classes were told. @example 2500 */
  @ApiProperty({ type: 'integer' })
  tokens!: number;

  /** Of these: what no hold had reserved. @example 0 */
  @ApiProperty({ type: 'integer' })
  overrun!: number;

  /** The hold that it settled. @example null */
  @ApiProperty({ format: 'uuid', nullable: true })
  holdId!: string | null;

  /** What the caller added. */
  @ApiProperty({
    type: 'object',
    nullable: true,
    additionalProperties: { oneOf: [{ type: 'string' }, { type: 'number' }, { type: 'boolean' }] },
    example: { feature: 'summary', cached: true },
  })
  metadata!: Record<string, string | number | boolean> | null;

  /** When it was used. */
  @ApiProperty({ format: 'date-time' })
  occurredAt!: Date;

  /** When it was recorded. */
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

@ApiSchema({ description: 'A page of what was used.' })
export class UsageListResponse {
  /** The records, the newest first. */
  data!: UsageRecordResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<UsageRecord>): UsageListResponse {
    return { data: data.map(UsageRecordResponse.of), nextCursor };
  }
}

@ApiSchema({ description: 'What usage cost by the price book. It is rounded once, so that parts may add up to a little less or more.' })
export class UsageCostResponse {
  /** In millionths of the currency’s unit: 2.50 USD are 2500000. @example 1250000 */
  @ApiProperty({ type: 'integer' })
  micros!: number;

  /** ISO 4217; null where nothing has a price. @example "USD" */
  currency!: string | null;

  /** Tokens whose price is not known: they are not in `micros`. @example 0 */
  @ApiProperty({ type: 'integer' })
  unpricedTokens!: number;

  static of({ micros, currency, unpricedTokens }: UsageCost): UsageCostResponse {
    return { micros, currency, unpricedTokens };
  }
}

@ApiSchema({ description: 'What was used, together.' })
export class UsageTotalResponse {
  /** How many events. @example 42 */
  @ApiProperty({ type: 'integer' })
  events!: number;

  /** Tokens of prompts that were not cached. @example 1200 */
  @ApiProperty({ type: 'integer' })
  inputTokens!: number;

  /** Tokens of answers, without reasoning. @example 300 */
  @ApiProperty({ type: 'integer' })
  outputTokens!: number;

  /** Tokens of prompts that came from a cache. @example 800 */
  @ApiProperty({ type: 'integer' })
  cachedInputTokens!: number;

  /** Tokens that were thought and not shown. @example 200 */
  @ApiProperty({ type: 'integer' })
  reasoningTokens!: number;

  /** All tokens, also those of which only a plain total was told. @example 2500 */
  @ApiProperty({ type: 'integer' })
  tokens!: number;

  /** Of these: what no hold had reserved. @example 0 */
  @ApiProperty({ type: 'integer' })
  overrun!: number;

  /** What it cost, if that was asked. */
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

@ApiSchema({ description: 'What was used in one part of the time, with one model, or by one user.' })
export class UsageGroupResponse extends UsageTotalResponse {
  /** The day (a week by its Monday), the month, the time an hour starts at, the model or the user’s id; null for what no user caused. @example "2026-11-01" */
  key!: string | null;

  /** When it starts, or the asked time does; null for models and users. */
  start!: Date | null;

  /** Before when it ends, or the asked time does; null for models and users. */
  end!: Date | null;

  static override of({ key, start, end, ...total }: UsageGroup): UsageGroupResponse {
    return { key, start, end, ...UsageTotalResponse.of(total) };
  }
}

@ApiSchema({ description: 'What was used, summed up.' })
export class UsageSummaryResponse {
  /** From this time on. */
  @ApiProperty({ format: 'date-time' })
  from!: Date;

  /** Before this time. */
  @ApiProperty({ format: 'date-time' })
  to!: Date;

  /** Whose calendar counted. @example "UTC" */
  timeZone!: string;

  /** By what it is grouped. */
  @ApiProperty({ enum: GROUPINGS, example: 'day' })
  groupBy!: UsageGrouping;

  /** Time in order and without gaps; models and users with most tokens first. */
  data!: UsageGroupResponse[];

  /** All groups together. */
  total!: UsageTotalResponse;

  static of({ from, to, timeZone, groupBy, groups, total }: UsageSummary): UsageSummaryResponse {
    return { from, to, timeZone, groupBy, data: groups.map(UsageGroupResponse.of), total: UsageTotalResponse.of(total) };
  }
}

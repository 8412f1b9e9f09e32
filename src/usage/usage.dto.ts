import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsInt, IsString, IsUUID, Length, Max, Min, ValidateIf } from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { IsIdentifierText } from '../platform/text/display-names.js';
import { DescribesProblem } from '../platform/problems/problems.decorators.js';
import { InvalidFieldResponse, ProblemResponse } from '../platform/problems/problem.dto.js';
import { whenGiven } from '../platform/http/bodies/transforms.js';
import { type Tier, TIERS } from '../plans/plans.js';
import { ALERT_THRESHOLDS, MOST_TOKENS } from './quotas/quota-balance.js';
import type { UsageAlert } from './alerts/usage-alerts.table.js';
import { type EventResult, type OperationOutcome, OUTCOMES, type Quota, type Rejection, REJECTIONS } from './ledger/operations.js';
import { MOST_METADATA, MOST_METADATA_CHARACTERS, type Metadata } from './events/usage-event.js';
import { QuotaExceeded } from './usage.errors.js';
import { HOLD_STATUSES, type HoldStatus, type UsageHold } from './holds/usage-holds.table.js';
import type { Answered, BatchResult } from './usage.service.js';

const tokens = { type: 'integer', minimum: 0, maximum: MOST_TOKENS } as const;
const LONGEST_HOLD_SECONDS = 86_400;

/** What is read by `readEvent`, alone or in a batch: this class documents it. */
@ApiSchema({
  description:
    'What was used. Give the tokens of each class, or only `tokens`. The classes are disjoint: a cached input token is not an input token as well, a reasoning token not an output token.',
})
export class RecordUsageRequest {
  /** Your id of the event, recorded once for ever: sending the same event again is a `duplicate`; another event, or the same of another person, is a conflict. @example "chat-7f3a-42" */
  @ApiProperty({ minLength: 1, maxLength: 200 })
  eventId!: string;

  /** Who caused it; you when left out. Admins and API keys may name anybody who is, or was, a member. */
  @ApiProperty({ format: 'uuid', required: false, example: '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182' })
  userId?: string;

  /** As the provider calls it; without white space at its ends and without invisible characters. @example "gpt-5-mini" */
  @ApiProperty({ minLength: 1, maxLength: 200 })
  model!: string;

  /** Without cached ones. @example 1200 */
  @ApiProperty({ ...tokens, required: false })
  inputTokens?: number;

  /** Without reasoning. @example 350 */
  @ApiProperty({ ...tokens, required: false })
  outputTokens?: number;

  /** Read from a cache. @example 800 */
  @ApiProperty({ ...tokens, required: false })
  cachedInputTokens?: number;

  /** Spent on thinking. @example 120 */
  @ApiProperty({ ...tokens, required: false })
  reasoningTokens?: number;

  /** The plain total, where the classes are not known; not beside them. */
  @ApiProperty({ ...tokens, required: false })
  tokens?: number;

  /** When it happened; now when left out. At most 5 minutes ahead. A day alone starts at midnight UTC. @example "2026-01-01T00:00:00.000Z" */
  @ApiProperty({ format: 'date-time', required: false })
  occurredAt?: string;

  /** Data of yours, to find the event again. Send numbers that a 64-bit float does not hold exactly, such as long ids, as text. */
  @ApiProperty({
    type: 'object',
    maxProperties: MOST_METADATA,
    example: { conversation: '7f3a' },
    additionalProperties: { oneOf: [{ type: 'string', maxLength: MOST_METADATA_CHARACTERS }, { type: 'number' }, { type: 'boolean' }] },
    required: false as never,
  })
  metadata?: Metadata;
}

@ApiSchema({ description: 'What was used, several at once.' })
export class RecordUsageBatchRequest {
  /** Each is answered for itself. */
  @ApiProperty({ type: [RecordUsageRequest], minItems: 1, maxItems: 1000 })
  events!: RecordUsageRequest[];
}

@ApiSchema({ description: 'Tokens to reserve for what is about to happen.' })
export class HoldRequest {
  /** As many as it may need at most. @example 4000 */
  @ApiProperty(tokens)
  @IsInt()
  @Min(0)
  @Max(MOST_TOKENS)
  estimatedTokens!: number;

  /** Your id of the hold: asking again for the same, by the same person, makes no second one. Made here when left out. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid', required: false })
  @ValidateIf(whenGiven)
  @IsUUID('all', { message: '$property must be a UUID' })
  holdId?: string;

  /** As the provider calls it. @example "gpt-5-mini" */
  @ValidateIf(whenGiven)
  @IsString()
  @Length(1, 200)
  @IsIdentifierText()
  model?: string;

  /** Who needs them; you when left out. */
  @ApiProperty({ format: 'uuid', required: false, example: '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182' })
  @ValidateIf(whenGiven)
  @IsUUID('all', { message: '$property must be a UUID' })
  userId?: string;

  /** After so long the tokens are free again, settled or not. @example 300 */
  @ApiProperty({ type: 'integer', minimum: 1, maximum: LONGEST_HOLD_SECONDS, required: false })
  @IsInt()
  @Min(1)
  @Max(LONGEST_HOLD_SECONDS)
  expiresInSeconds: number = 300;
}

@ApiSchema({ description: 'What is left of the period.' })
export class QuotaResponse {
  /** Tokens that were used. @example 41200 */
  @ApiProperty(tokens)
  used!: number;

  /** Of `used`: what was used before a change of plan or interval began this period in the middle of a month. @example 0 */
  @ApiProperty(tokens)
  carriedOver!: number;

  /** Tokens on hold. @example 4000 */
  @ApiProperty(tokens)
  held!: number;

  /** Of `used`: what was settled beyond its hold, the only tokens that can be past a hard limit. @example 0 */
  @ApiProperty(tokens)
  overrun!: number;

  /** Null where the plan has no limit. */
  @ApiProperty({ ...tokens, nullable: true, example: 100_000 })
  limit!: number | null;

  /** Whether usage stops at the limit. @example true */
  hard!: boolean;

  /** Neither used nor on hold; null where the plan has no limit. */
  @ApiProperty({ ...tokens, nullable: true, example: 54_800 })
  remaining!: number | null;

  /** When the period began. */
  periodStart!: Date;

  /** When the next one begins. */
  resetsAt!: Date;

  static of({ used, carried, held, overrun, limit, isHard, remaining, start, end }: Quota): QuotaResponse {
    return { used, carriedOver: carried, held, overrun, limit, hard: isHard, remaining, periodStart: start, resetsAt: end };
  }
}

@DescribesProblem(QuotaExceeded)
@ApiSchema({ description: 'The quota is used up: a problem that says what is left, and which plan would help.' })
/** @public */
export class QuotaExceededResponse extends ProblemResponse {
  /** The tier of the smallest plan that would allow it; null where no plan does. */
  @ApiProperty({ enum: TIERS, nullable: true, example: 'pro' })
  plan!: Tier | null;

  /** What is left of the period. */
  quota!: QuotaResponse;
}

@ApiSchema({ description: 'What became of an event.' })
export class UsageResponse {
  /** As it was given. @example "chat-7f3a-42" */
  eventId!: string;

  /** `duplicate`: recorded before, with the same content. */
  @ApiProperty({ enum: OUTCOMES, example: 'inserted' })
  outcome!: OperationOutcome;

  /** The period after it. */
  quota!: QuotaResponse;

  /** The hold that it settled. */
  hold?: HoldStateResponse;

  static of({ eventId, outcome }: EventResult, { quota, hold }: Answered): UsageResponse {
    return { eventId, outcome, quota: QuotaResponse.of(quota), ...(hold !== undefined && { hold: HoldStateResponse.of(hold) }) };
  }
}

@ApiSchema({ description: 'A hold, and what became of it.' })
export class HoldStateResponse {
  /** The hold. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** Whether its tokens are still reserved. */
  @ApiProperty({ enum: HOLD_STATUSES, example: 'live' })
  status!: HoldStatus;

  /** How many it reserved. @example 4000 */
  @ApiProperty(tokens)
  tokens!: number;

  /** When its tokens are free again. */
  expiresAt!: Date;

  static of({ id, status, tokens: reserved, expiresAt }: UsageHold): HoldStateResponse {
    return { id, status, tokens: reserved, expiresAt };
  }
}

@ApiSchema({ description: 'A hold.' })
export class UsageHoldResponse extends HoldStateResponse {
  /** What else is left of the period; null where the plan has no limit. */
  @ApiProperty({ ...tokens, nullable: true, example: 54_800 })
  remaining!: number | null;

  static override of(hold: UsageHold, quota?: Quota): UsageHoldResponse {
    return { ...HoldStateResponse.of(hold), remaining: quota?.remaining ?? null };
  }
}

@ApiSchema({ description: 'What became of one event of a batch.' })
export class UsageBatchItemResponse {
  /** As it was given; empty where it could not be read. @example "chat-7f3a-42" */
  eventId!: string;

  /** `duplicate`: recorded before, with the same content; `conflict`: with other content. */
  @ApiProperty({ enum: OUTCOMES, example: 'inserted' })
  outcome!: OperationOutcome;

  /** Why it was rejected. */
  @ApiProperty({ enum: REJECTIONS, required: false, example: 'quota_exceeded' })
  reason?: Rejection;

  /** What is wrong with it, field by field; the first three mistakes. */
  @ApiProperty({ type: [InvalidFieldResponse], maxItems: 3, required: false })
  errors?: InvalidFieldResponse[];
}

@ApiSchema({ description: 'What became of a batch, in its order.' })
export class UsageBatchResponse {
  /** One for each event. */
  @ApiProperty({ type: [UsageBatchItemResponse] })
  results!: UsageBatchItemResponse[];

  /** The period after it. */
  quota!: QuotaResponse;

  /** The plan that would have let in what was over the quota, if there is one. */
  @ApiProperty({ enum: TIERS, required: false, example: 'pro' })
  plan?: Tier;

  static of(results: BatchResult[], { quota, suggestedPlan }: Answered): UsageBatchResponse {
    return { results, quota: QuotaResponse.of(quota), ...(suggestedPlan !== undefined && { plan: suggestedPlan.tier }) };
  }
}

@ApiSchema({ description: 'That so much of a period’s limit was used.' })
export class UsageAlertResponse {
  /** Percent of the limit. */
  @ApiProperty({ type: 'integer', enum: ALERT_THRESHOLDS, example: 80 })
  threshold!: number;

  /** Tokens that were used by then. @example 80120 */
  @ApiProperty(tokens)
  used!: number;

  /** The limit as it was then. @example 100000 */
  @ApiProperty(tokens)
  limit!: number;

  /** Which period it is about. */
  periodStart!: Date;

  /** When it was reached. */
  createdAt!: Date;

  static of({ threshold, used, limit, periodStart, createdAt }: UsageAlert): UsageAlertResponse {
    return { threshold, used, limit, periodStart, createdAt };
  }
}

@ApiSchema({ description: 'Alerts, those of the latest period first.' })
export class UsageAlertListResponse {
  /** Those of this page. */
  data!: UsageAlertResponse[];

  /** For the next page; null at the end. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<UsageAlert>): UsageAlertListResponse {
    return { data: data.map((alert) => UsageAlertResponse.of(alert)), nextCursor };
  }
}

import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsInt, IsString, IsUUID, Length, Max, Min, ValidateIf } from 'class-validator';
import { type Tier, TIERS } from '../plans/plans.js';
import { whenGiven } from '../platform/http/bodies/transforms.js';
import { documentedBy } from '../platform/openapi/documented-by.js';
import type { Page } from '../platform/pagination/cursors.service.js';
import { InvalidFieldResponse, ProblemResponse } from '../platform/problems/problem.dto.js';
import { DescribesProblem } from '../platform/problems/problems.decorators.js';
import { IsIdentifierText } from '../platform/text/display-names.js';
import type { UsageAlert } from './alerts/usage-alerts.table.js';
import { type BatchItemResult, MAX_BATCH } from './events/event-attribution.js';
import { usageEventSchema } from './events/usage-event.schema.js';
import { HOLD_STATUSES, type HoldStatus, type UsageHold } from './holds/usage-holds.table.js';
import { type EventOutcome, type EventResult, OUTCOMES, type Quota, type Rejection, REJECTIONS } from './ledger/operations.js';
import { ALERT_THRESHOLDS, MAX_TOKENS } from './quotas/quota-balance.js';
import { QuotaExceeded } from './usage.errors.js';
import type { UsageResult } from './usage.service.js';

const tokens = { type: 'integer', minimum: 0, maximum: MAX_TOKENS } as const;
const MAX_HOLD_SECONDS = 86_400;

@ApiSchema({
  description:
    'Used tokens: either `tokens`, or a count for each class. The classes are disjoint: `inputTokens` excludes cached tokens, `outputTokens` excludes reasoning.',
})
export class RecordUsageRequest extends documentedBy(usageEventSchema) {}

@ApiSchema({ description: 'Several usage events.' })
export class RecordUsageBatchRequest {
  /** Each gets a result of its own. */
  @ApiProperty({ type: [RecordUsageRequest], minItems: 1, maxItems: MAX_BATCH })
  events!: RecordUsageRequest[];
}

@ApiSchema({ description: 'Tokens to reserve before a call to a model.' })
export class HoldRequest {
  /** The maximum that the call may use. @example 4000 */
  @ApiProperty(tokens)
  @IsInt()
  @Min(0)
  @Max(MAX_TOKENS)
  estimatedTokens!: number;

  /** Your id of the hold, by default a new one. Repeating the request for the same user creates no second hold. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid', required: false })
  @ValidateIf(whenGiven)
  @IsUUID('all', { message: '$property must be a UUID' })
  holdId?: string;

  /** The model, by its name at the provider. @example "gpt-5-mini" */
  @ValidateIf(whenGiven)
  @IsString()
  @Length(1, 200)
  @IsIdentifierText()
  model?: string;

  /** The user who needs them; by default the caller. */
  @ApiProperty({ format: 'uuid', required: false, example: '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182' })
  @ValidateIf(whenGiven)
  @IsUUID('all', { message: '$property must be a UUID' })
  userId?: string;

  /** When this time has passed, the tokens are free again. @example 300 */
  @ApiProperty({ type: 'integer', minimum: 1, maximum: MAX_HOLD_SECONDS, required: false })
  @IsInt()
  @Min(1)
  @Max(MAX_HOLD_SECONDS)
  expiresInSeconds: number = 300;
}

@ApiSchema({ description: 'The token allowance of the current period.' })
export class QuotaResponse {
  /** Used tokens. @example 41200 */
  @ApiProperty(tokens)
  used!: number;

  /** The part of `used` that carries over from a month which a change of plan or interval cut short. @example 0 */
  @ApiProperty(tokens)
  carriedOver!: number;

  /** Tokens reserved by live holds. @example 4000 */
  @ApiProperty(tokens)
  held!: number;

  /** The part of `used` that was settled beyond its hold. Only it can exceed a hard limit. @example 0 */
  @ApiProperty(tokens)
  overrun!: number;

  /** The plan’s limit; null if it has none. */
  @ApiProperty({ ...tokens, nullable: true, example: 100_000 })
  limit!: number | null;

  /** Whether usage stops at the limit. @example true */
  hard!: boolean;

  /** Tokens that are neither used nor reserved; null if the plan has no limit. */
  @ApiProperty({ ...tokens, nullable: true, example: 54_800 })
  remaining!: number | null;

  /** When the period started. */
  periodStart!: Date;

  /** When the next period starts. */
  resetsAt!: Date;

  static of({ used, carried, held, overrun, limit, isHard, remaining, start, end }: Quota): QuotaResponse {
    return { used, carriedOver: carried, held, overrun, limit, hard: isHard, remaining, periodStart: start, resetsAt: end };
  }
}

@DescribesProblem(QuotaExceeded)
@ApiSchema({ description: 'The quota is used up. The problem has the quota, and the plan that would allow the request.' })
/** @public */
export class QuotaExceededResponse extends ProblemResponse {
  /** The tier of the smallest plan that would allow it; null if no plan does. */
  @ApiProperty({ enum: TIERS, nullable: true, example: 'pro' })
  plan!: Tier | null;

  /** The quota as it is. */
  quota!: QuotaResponse;
}

@ApiSchema({ description: 'The result of recording an event.' })
export class UsageResponse {
  /** The id that you sent. @example "chat-7f3a-42" */
  eventId!: string;

  /** `duplicate`: recorded before with the same content. */
  @ApiProperty({ enum: OUTCOMES, example: 'inserted' })
  outcome!: EventOutcome;

  /** The quota after it. */
  quota!: QuotaResponse;

  /** The hold that the event settled. */
  hold?: HoldStateResponse;

  static of({ eventId, outcome }: EventResult, { quota, hold }: UsageResult): UsageResponse {
    return { eventId, outcome, quota: QuotaResponse.of(quota), ...(hold !== undefined && { hold: HoldStateResponse.of(hold) }) };
  }
}

@ApiSchema({ description: 'A hold and its status.' })
export class HoldStateResponse {
  /** The hold’s id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** Only a `live` hold reserves its tokens. */
  @ApiProperty({ enum: HOLD_STATUSES, example: 'live' })
  status!: HoldStatus;

  /** The number of reserved tokens. @example 4000 */
  @ApiProperty(tokens)
  tokens!: number;

  /** When the tokens are free again. */
  expiresAt!: Date;

  static of({ id, status, tokens: reserved, expiresAt }: UsageHold): HoldStateResponse {
    return { id, status, tokens: reserved, expiresAt };
  }
}

@ApiSchema({ description: 'A hold.' })
export class UsageHoldResponse extends HoldStateResponse {
  /** Remaining tokens besides the reserved ones; null if the plan has no limit. */
  @ApiProperty({ ...tokens, nullable: true, example: 54_800 })
  remaining!: number | null;

  static override of(hold: UsageHold, quota?: Quota): UsageHoldResponse {
    return { ...HoldStateResponse.of(hold), remaining: quota?.remaining ?? null };
  }
}

@ApiSchema({ description: 'The result of one event of a batch.' })
export class UsageBatchItemResponse {
  /** The id that you sent; empty if it could not be read. @example "chat-7f3a-42" */
  eventId!: string;

  /** `duplicate`: recorded before with the same content; `conflict`: with other content. */
  @ApiProperty({ enum: OUTCOMES, example: 'inserted' })
  outcome!: EventOutcome;

  /** Why the event was rejected. */
  @ApiProperty({ enum: REJECTIONS, required: false, example: 'quota_exceeded' })
  reason?: Rejection;

  /** The first three invalid fields. */
  @ApiProperty({ type: [InvalidFieldResponse], maxItems: 3, required: false })
  errors?: InvalidFieldResponse[];
}

@ApiSchema({ description: 'The results of a batch, in the order of its events.' })
export class UsageBatchResponse {
  /** One result for each event. */
  @ApiProperty({ type: [UsageBatchItemResponse] })
  results!: UsageBatchItemResponse[];

  /** The quota after it. */
  quota!: QuotaResponse;

  /** The smallest plan that would have accepted the events over the quota. */
  @ApiProperty({ enum: TIERS, required: false, example: 'pro' })
  plan?: Tier;

  static of(results: BatchItemResult[], { quota, suggestedPlan }: UsageResult): UsageBatchResponse {
    return { results, quota: QuotaResponse.of(quota), ...(suggestedPlan !== undefined && { plan: suggestedPlan.tier }) };
  }
}

@ApiSchema({ description: 'A threshold of a period’s limit that was reached.' })
export class UsageAlertResponse {
  /** Percentage of the limit. */
  @ApiProperty({ type: 'integer', enum: ALERT_THRESHOLDS, example: 80 })
  threshold!: number;

  /** Tokens used at that time. @example 80120 */
  @ApiProperty(tokens)
  used!: number;

  /** The limit at that time. @example 100000 */
  @ApiProperty(tokens)
  limit!: number;

  /** The start of the period. */
  periodStart!: Date;

  /** When the threshold was reached. */
  createdAt!: Date;

  static of({ threshold, used, limit, periodStart, createdAt }: UsageAlert): UsageAlertResponse {
    return { threshold, used, limit, periodStart, createdAt };
  }
}

@ApiSchema({ description: 'A page of alerts, the latest period first.' })
export class UsageAlertListResponse {
  /** The alerts. */
  data!: UsageAlertResponse[];

  /** Ask for the next page with it; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<UsageAlert>): UsageAlertListResponse {
    return { data: data.map((alert) => UsageAlertResponse.of(alert)), nextCursor };
  }
}

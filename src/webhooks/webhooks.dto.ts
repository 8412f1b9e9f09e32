import { ApiProperty, ApiSchema, IntersectionType } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, MaxLength, ValidateIf } from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { IsTime } from '../platform/time/is-time.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { whenGiven } from '../platform/http/bodies/transforms.js';
import { WEBHOOK_STATUSES, type WebhookStatus } from './webhook-events.table.js';
import type { WebhookEventSummary } from './webhooks.repository.js';
import type { WebhookEventDetail } from './webhooks.service.js';

@ApiSchema({ description: 'That the message is kept.' })
export class WebhookReceiptResponse {
  /** `duplicate` when it had been received before. @example "stored" */
  @ApiProperty({ enum: ['stored', 'duplicate'] })
  outcome!: 'stored' | 'duplicate';
}

/** Which messages are meant. */
class WebhookEventFilters {
  /** Only from this sender. @example "clerk" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(50)
  provider?: string;

  /** Only this kind of event, as the provider calls it. @example "user.updated" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(200)
  type?: string;

  /** Received at this time or later. A day alone starts at midnight UTC. @example "2026-01-01T00:00:00Z" */
  @ValidateIf(whenGiven)
  @IsTime()
  receivedFrom?: Date;

  /** Received before this time. A day alone starts at midnight UTC. @example "2027-01-01T00:00:00Z" */
  @ValidateIf(whenGiven)
  @IsTime()
  receivedBefore?: Date;
}

export class ListWebhookEventsQuery extends IntersectionType(ListQuery, WebhookEventFilters) {
  /** How far it is. */
  @ApiProperty({ enum: WEBHOOK_STATUSES, required: false, description: 'Only events with this status.', example: 'dead' })
  @IsOptional()
  @IsIn(WEBHOOK_STATUSES)
  status?: WebhookStatus;
}

@ApiSchema({ description: 'Which events to process again; what is left out does not matter. Pending ones are on their way anyway.' })
export class ReplayWebhookEventsRequest extends WebhookEventFilters {
  /** How far they are: `dead` after something was mended. */
  @ApiProperty({ enum: WEBHOOK_STATUSES, description: 'Only events with this status.', example: 'dead' })
  @IsIn(WEBHOOK_STATUSES)
  status!: WebhookStatus;
}

@ApiSchema({ description: 'What is processed again.' })
export class ReplayedWebhookEventsResponse {
  /** How many events. @example 12 */
  @ApiProperty({ type: 'integer' })
  replayed!: number;
}

@ApiSchema({ description: 'A message that a provider sent, and how far we are with it.' })
export class WebhookEventResponse {
  /** Our id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** Who sent it. @example "clerk" */
  provider!: string;

  /** The provider's id of it, the same in every attempt. @example "msg_2g7np7Hrk0SN6kj5EDMLDaKNL0S" */
  messageId!: string;

  /** As the provider calls it; empty for a body that cannot be read. @example "user.updated" */
  type!: string;

  /** `dead` has used up its attempts, `quarantined` cannot be read, `ignored` changes nothing here. */
  @ApiProperty({ enum: WEBHOOK_STATUSES, example: 'processed' })
  status!: WebhookStatus;

  /** How often it was tried. @example 1 */
  @ApiProperty({ type: 'integer' })
  attempts!: number;

  /** When the event happened, as the provider says. */
  eventAt!: Date | null;

  /** When it came in. */
  receivedAt!: Date;

  /** When its effect was brought about. */
  processedAt!: Date | null;

  /** When it will be tried next; null for what is done with. */
  nextAttemptAt!: Date | null;

  /** Why the last attempt failed. */
  lastError!: string | null;

  static of(event: WebhookEventSummary): WebhookEventResponse {
    const { id, provider, messageId, type, status, attempts, eventAt, receivedAt, processedAt, nextAttemptAt, lastError } = event;
    return {
      id,
      provider,
      messageId,
      type,
      status,
      attempts,
      eventAt: eventAt === null ? null : new Date(eventAt),
      receivedAt,
      processedAt,
      nextAttemptAt: status === 'pending' ? nextAttemptAt : null,
      lastError,
    };
  }
}

@ApiSchema({ description: 'A message that a provider sent, with what it said.' })
export class WebhookEventDetailResponse extends WebhookEventResponse {
  /** What it said, with secrets masked. Null when it is no longer kept or no JSON; of mails and text messages only the envelope. */
  @ApiProperty({
    type: 'object',
    nullable: true,
    additionalProperties: true,
    example: { type: 'user.updated', data: { id: 'user_2g7np7' } },
  })
  payload!: unknown;

  static override of(event: WebhookEventDetail): WebhookEventDetailResponse {
    return { ...WebhookEventResponse.of(event), payload: event.payload ?? null };
  }
}

@ApiSchema({ description: 'A page of the inbox.' })
export class WebhookEventListResponse {
  /** The events, the last received first. */
  data!: WebhookEventResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<WebhookEventSummary>): WebhookEventListResponse {
    return { data: data.map(WebhookEventResponse.of), nextCursor };
  }
}

import { ApiProperty, ApiSchema, IntersectionType } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, MaxLength, ValidateIf } from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { IsTime } from '../platform/time/is-time.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { whenGiven } from '../platform/http/bodies/transforms.js';
import { WEBHOOK_STATUSES, type WebhookStatus } from './webhook-events.table.js';
import type { WebhookEventSummary } from './webhooks.repository.js';
import type { WebhookEventDetail } from './webhooks.service.js';

@ApiSchema({ description: 'The receipt of a message.' })
export class WebhookReceiptResponse {
  /** `duplicate` if it was received before. @example "stored" */
  @ApiProperty({ enum: ['stored', 'duplicate'] })
  outcome!: 'stored' | 'duplicate';
}

/** A filter of messages. */
class WebhookEventFilters {
  /** Only messages of this provider. @example "clerk" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(50)
  provider?: string;

  /** Only events of this type, by the provider's name for it. @example "user.updated" */
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
  /** The status. */
  @ApiProperty({ enum: WEBHOOK_STATUSES, required: false, description: 'Only events with this status.', example: 'dead' })
  @IsOptional()
  @IsIn(WEBHOOK_STATUSES)
  status?: WebhookStatus;
}

@ApiSchema({ description: 'The events to process again: those that match every given field. Pending events are skipped.' })
export class ReplayWebhookEventsRequest extends WebhookEventFilters {
  /** The status: `dead`, for example, after a fix. */
  @ApiProperty({ enum: WEBHOOK_STATUSES, description: 'Only events with this status.', example: 'dead' })
  @IsIn(WEBHOOK_STATUSES)
  status!: WebhookStatus;
}

@ApiSchema({ description: 'The result of a replay.' })
export class ReplayedWebhookEventsResponse {
  /** The number of events that will be processed again. @example 12 */
  @ApiProperty({ type: 'integer' })
  replayed!: number;
}

@ApiSchema({ description: 'A message of a provider, and the status of its processing.' })
export class WebhookEventResponse {
  /** Our id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** The provider. @example "clerk" */
  provider!: string;

  /** The provider's id of the message, the same in every delivery. @example "msg_2g7np7Hrk0SN6kj5EDMLDaKNL0S" */
  messageId!: string;

  /** The provider's name of the event type; empty if the body is unreadable. @example "user.updated" */
  type!: string;

  /** `dead`: all attempts failed; `quarantined`: the payload is unreadable; `ignored`: nothing to change here. */
  @ApiProperty({ enum: WEBHOOK_STATUSES, example: 'processed' })
  status!: WebhookStatus;

  /** The number of attempts. @example 1 */
  @ApiProperty({ type: 'integer' })
  attempts!: number;

  /** When the event happened, according to the provider. */
  eventAt!: Date | null;

  /** When the message was received. */
  receivedAt!: Date;

  /** When processing finished. */
  processedAt!: Date | null;

  /** When the next attempt is due; null when no attempt will follow. */
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

@ApiSchema({ description: 'A message of a provider, with its content.' })
export class WebhookEventDetailResponse extends WebhookEventResponse {
  /** The content, with secrets masked. Null if it is no longer stored or not JSON. Mails and text messages keep only their envelope. */
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
  /** The events, last received first. */
  data!: WebhookEventResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<WebhookEventSummary>): WebhookEventListResponse {
    return { data: data.map(WebhookEventResponse.of), nextCursor };
  }
}

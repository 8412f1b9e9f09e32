import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsIn, IsOptional } from 'class-validator';
import type { Page } from '../../platform/pagination/cursors.service.js';
import { ListQuery } from '../../platform/pagination/list.dto.js';
import { BILLING_PROVIDERS, type BillingProviderName } from '../../plans/plans.js';
import type { MeterExport } from './meter-exports.table.js';
import { EXPORT_STATES, type ExportState } from './meter-exports.repository.js';

export class ListMeterExportsQuery extends ListQuery {
  @ApiProperty({ enum: BILLING_PROVIDERS, required: false, description: 'Only for this provider.', example: 'polar' })
  @IsOptional()
  @IsIn(BILLING_PROVIDERS)
  provider?: BillingProviderName;

  @ApiProperty({
    enum: EXPORT_STATES,
    required: false,
    description: 'Usage that the provider has refused permanently, or usage that waits to be sent.',
    example: 'refused',
  })
  @IsIn(EXPORT_STATES)
  state: ExportState = 'refused';
}

@ApiSchema({ description: 'The provider to retry, after the cause of its refusals was fixed.' })
export class RetryMeterExportsRequest {
  /** The provider that refused it. */
  @ApiProperty({ enum: BILLING_PROVIDERS, description: 'The provider that refused it.', example: 'polar' })
  @IsIn(BILLING_PROVIDERS)
  provider!: BillingProviderName;
}

@ApiSchema({ description: 'The number of retried events.' })
export class RetriedMeterExportsResponse {
  /** The number of events. @example 12 */
  @ApiProperty({ type: 'integer' })
  retried!: number;
}

@ApiSchema({ description: 'A usage event that a billing provider’s meter has not accepted.' })
export class MeterExportResponse {
  /** The provider with the meter. @example "polar" */
  @ApiProperty({ enum: BILLING_PROVIDERS })
  provider!: string;

  /** The user or organization that used it. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  ownerId!: string;

  /** The event's id, unique for its owner. @example "evt-42" */
  eventId!: string;

  /** The provider’s id of the customer who is billed. @example "0c1f6e5e-8e8a-4d7a-9b5e-2f4f3a8f0f10" */
  providerCustomerId!: string;

  /** When it was used. */
  occurredAt!: Date;

  /** The model that was used. @example "gpt-5" */
  model!: string;

  /** The number of tokens. @example 1200 */
  @ApiProperty({ type: 'integer' })
  tokensUsed!: number;

  /** A `refused` event is sent again only on request. */
  @ApiProperty({ enum: EXPORT_STATES, example: 'refused' })
  state!: ExportState;

  /** The number of attempts. @example 1 */
  @ApiProperty({ type: 'integer' })
  attempts!: number;

  /** When it is sent next; null if it was refused. */
  nextAttemptAt!: Date | null;

  /** The provider’s error of the last attempt. */
  lastError!: string | null;

  /** When it was queued. */
  createdAt!: Date;

  static of(row: MeterExport): MeterExportResponse {
    const { provider, ownerId, eventId, providerCustomerId, occurredAt, values, tokensUsed, attempts, nextAttemptAt, lastError } = row;
    return {
      provider,
      ownerId,
      eventId,
      providerCustomerId,
      occurredAt,
      model: values.model,
      tokensUsed,
      state: nextAttemptAt === null ? 'refused' : 'pending',
      attempts,
      nextAttemptAt,
      lastError,
      createdAt: row.createdAt,
    };
  }
}

@ApiSchema({ description: 'A page of usage events that meters have not accepted.' })
export class MeterExportListResponse {
  /** Sorted by provider, then by the time when a refused event was queued or a pending one is due. */
  data!: MeterExportResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<MeterExport>): MeterExportListResponse {
    return { data: data.map(MeterExportResponse.of), nextCursor };
  }
}

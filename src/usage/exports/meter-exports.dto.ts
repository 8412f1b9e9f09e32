import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsIn, IsOptional } from 'class-validator';
import type { Page } from '../../platform/pagination/cursors.service.js';
import { ListQuery } from '../../platform/pagination/list.dto.js';
import { BILLING_PROVIDERS, type BillingProviderName } from '../../plans/plans.js';
import type { MeterExport } from './meter-exports.table.js';
import { EXPORT_STATES, type ExportState } from './meter-exports.repository.js';

export class ListMeterExportsQuery extends ListQuery {
  /** Of which provider. */
  @ApiProperty({ enum: BILLING_PROVIDERS, required: false, description: 'Only for this provider.', example: 'polar' })
  @IsOptional()
  @IsIn(BILLING_PROVIDERS)
  provider?: BillingProviderName;

  /** How far it is. */
  @ApiProperty({
    enum: EXPORT_STATES,
    required: false,
    description: 'What the provider has refused for good, or what it is still to be told of.',
    example: 'refused',
  })
  @IsIn(EXPORT_STATES)
  state: ExportState = 'refused';
}

@ApiSchema({ description: 'Whose refused usage to tell again, after something was mended.' })
export class RetryMeterExportsRequest {
  /** The provider that refused it. */
  @ApiProperty({ enum: BILLING_PROVIDERS, description: 'The provider that refused it.', example: 'polar' })
  @IsIn(BILLING_PROVIDERS)
  provider!: BillingProviderName;
}

@ApiSchema({ description: 'What is told again.' })
export class RetriedMeterExportsResponse {
  /** How many events. @example 12 */
  @ApiProperty({ type: 'integer' })
  retried!: number;
}

@ApiSchema({ description: 'Usage of one event that a billing provider’s meter has not taken.' })
export class MeterExportResponse {
  /** Whose meter it is for. @example "polar" */
  @ApiProperty({ enum: BILLING_PROVIDERS })
  provider!: string;

  /** The user or organization that used it. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  ownerId!: string;

  /** The event's id, unique for its owner. @example "evt-42" */
  eventId!: string;

  /** Who is billed for it, by the provider's id. @example "0c1f6e5e-8e8a-4d7a-9b5e-2f4f3a8f0f10" */
  providerCustomerId!: string;

  /** When it was used. */
  occurredAt!: Date;

  /** The model that was used. @example "gpt-5" */
  model!: string;

  /** How many tokens. @example 1200 */
  @ApiProperty({ type: 'integer' })
  tokensUsed!: number;

  /** `refused` is not told again by itself. */
  @ApiProperty({ enum: EXPORT_STATES, example: 'refused' })
  state!: ExportState;

  /** How often the provider was told. @example 1 */
  @ApiProperty({ type: 'integer' })
  attempts!: number;

  /** When it is told next; null for what was refused. */
  nextAttemptAt!: Date | null;

  /** What the provider said to the last attempt. */
  lastError!: string | null;

  /** Since when it is here. */
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

@ApiSchema({ description: 'A page of what meters have not taken.' })
export class MeterExportListResponse {
  /** Provider by provider; what was refused by when it came, what waits by when it is due. */
  data!: MeterExportResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<MeterExport>): MeterExportListResponse {
    return { data: data.map(MeterExportResponse.of), nextCursor };
  }
}

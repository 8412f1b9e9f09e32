import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { Operator } from '../../access/access.decorators.js';
import { Caller, type Principal } from '../../access/principal.js';
import { TagDescription } from '../../platform/openapi/tags.decorators.js';
import { Problems } from '../../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../../platform/problems/problems.errors.js';
import {
  ListMeterExportsQuery,
  MeterExportListResponse,
  RetriedMeterExportsResponse,
  RetryMeterExportsRequest,
} from './meter-exports.dto.js';
import { MeterExportsService } from './meter-exports.service.js';

@Controller('v1/meter-exports')
@TagDescription('Usage events that a billing provider’s meter has not accepted, for operators.')
export class MetersController {
  constructor(private readonly meterExports: MeterExportsService) {}

  /** Lists usage that a billing provider has refused permanently, or that waits to be sent. */
  @Get()
  @Operator()
  @Problems(InvalidCursor)
  async listMeterExports(@Query() query: ListMeterExportsQuery): Promise<MeterExportListResponse> {
    return MeterExportListResponse.of(await this.meterExports.list(query));
  }

  /** Sends all refused usage of a provider again, in the background. */
  @Post('retry')
  @HttpCode(202)
  @Operator()
  async retryMeterExports(
    @Caller() { actor }: Principal,
    @Body() { provider }: RetryMeterExportsRequest,
  ): Promise<RetriedMeterExportsResponse> {
    return { retried: await this.meterExports.retry(provider, actor) };
  }
}

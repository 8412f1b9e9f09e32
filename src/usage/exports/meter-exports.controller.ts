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
import { MetersService } from './meter-exports.service.js';

@Controller('v1/meter-exports')
@TagDescription('Usage that billing providers have not taken, for operators.')
export class MetersController {
  constructor(private readonly meters: MetersService) {}

  /** Lists usage that a billing provider has refused for good, or is still to be told of. */
  @Get()
  @Operator()
  @Problems(InvalidCursor)
  async listMeterExports(@Query() query: ListMeterExportsQuery): Promise<MeterExportListResponse> {
    return MeterExportListResponse.of(await this.meters.list(query));
  }

  /** Tells a provider again of all that it has refused, in the background. What it has taken is never told again. */
  @Post('retry')
  @HttpCode(202)
  @Operator()
  async retryMeterExports(
    @Caller() { actor }: Principal,
    @Body() { provider }: RetryMeterExportsRequest,
  ): Promise<RetriedMeterExportsResponse> {
    return { retried: await this.meters.retry(provider, actor) };
  }
}

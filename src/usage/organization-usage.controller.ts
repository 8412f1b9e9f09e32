import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBody, ApiParam } from '@nestjs/swagger';
import { Limited, Roles, Scopes } from '../access/access.decorators.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { UsageAnswer } from './usage-answer.js';
import { Answer, OfUsage } from './usage.decorators.js';
import {
  HoldRequest,
  QuotaResponse,
  RecordUsageBatchRequest,
  RecordUsageRequest,
  UsageAlertListResponse,
  UsageBatchResponse,
  UsageHoldResponse,
  UsageResponse,
} from './usage.dto.js';
import { HoldConflict, HoldNotFound, HoldSettled, QuotaExceeded, UsageConflict } from './usage.errors.js';
import { type UsageCaller, UsageService } from './usage.service.js';

@ApiParam({ name: 'organizationId', schema: { type: 'string', format: 'uuid' } })
@Controller('v1/organizations/:organizationId/usage')
@TagDescription('What an organization uses, and what is left of it.')
export class OrganizationUsageController {
  constructor(private readonly usage: UsageService) {}

  /** Records what the organization used. Durable when it is answered; sending it again changes nothing. */
  @Post()
  @Roles('admin', 'member')
  @Scopes('usage:write')
  @Limited('usage')
  @ApiBody({ type: RecordUsageRequest })
  @Problems(QuotaExceeded, UsageConflict)
  async recordUsage(@OfUsage() caller: UsageCaller, @Body() body: unknown, @Answer() answer: UsageAnswer): Promise<UsageResponse> {
    return answer.recorded(await this.usage.record(caller, body));
  }

  /** Records up to 1,000 events, each answered for itself. */
  @Post('batch')
  @HttpCode(200)
  @Roles('admin', 'member')
  @Scopes('usage:write')
  @Limited('usage')
  @ApiBody({ type: RecordUsageBatchRequest })
  async recordUsageBatch(
    @OfUsage() caller: UsageCaller,
    @Body() body: unknown,
    @Answer() answer: UsageAnswer,
  ): Promise<UsageBatchResponse> {
    return answer.batch(await this.usage.recordBatch(caller, body));
  }

  /** Reads what is left of the organization’ tokens in this period. */
  @Get('quota')
  @Roles('admin', 'member')
  @Scopes('usage:read')
  async getQuota(@OfUsage() caller: UsageCaller, @Answer() answer: UsageAnswer): Promise<QuotaResponse> {
    return answer.quota(await this.usage.getQuota(caller));
  }

  /** Reserves tokens for what is about to happen. */
  @Post('holds')
  @Roles('admin', 'member')
  @Scopes('usage:write')
  @Limited('usage')
  @Problems(QuotaExceeded, HoldConflict)
  async holdTokens(@OfUsage() caller: UsageCaller, @Body() body: HoldRequest, @Answer() answer: UsageAnswer): Promise<UsageHoldResponse> {
    return answer.held(await this.usage.hold(caller, body));
  }

  /** Records what really was used, and gives the rest of the hold back. No cap refuses it. */
  @Post('holds/:holdId/settle')
  @Roles('admin', 'member')
  @Scopes('usage:write')
  @Limited('usage')
  @ApiBody({ type: RecordUsageRequest })
  @Problems(HoldNotFound, HoldSettled, UsageConflict)
  async settleHold(
    @OfUsage() caller: UsageCaller,
    @Param('holdId', IdPipe) holdId: string,
    @Body() body: unknown,
    @Answer() answer: UsageAnswer,
  ): Promise<UsageResponse> {
    return answer.recorded(await this.usage.settle(caller, holdId, body));
  }

  /** Gives a hold back. One that is back already stays so. */
  @Delete('holds/:holdId')
  @HttpCode(204)
  @Roles('admin', 'member')
  @Scopes('usage:write')
  @Limited('usage')
  @Problems(HoldNotFound, HoldSettled)
  async releaseHold(@OfUsage() caller: UsageCaller, @Param('holdId', IdPipe) holdId: string, @Answer() answer: UsageAnswer): Promise<void> {
    answer.released(await this.usage.release(caller, holdId));
  }

  /** Lists when 50, 80 and 100 percent of a period's limit were reached. */
  @Get('alerts')
  @Roles('admin', 'member')
  @Scopes('usage:read')
  @Problems(InvalidCursor)
  async listUsageAlerts(@OfUsage() caller: UsageCaller, @Query() query: ListQuery): Promise<UsageAlertListResponse> {
    return UsageAlertListResponse.of(await this.usage.listAlerts(caller, query));
  }
}

import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import { ApiBody, ApiCreatedResponse, ApiOkResponse, ApiParam } from '@nestjs/swagger';
import type { Response } from 'express';
import { Limited, Roles, Scopes } from '../access/access.decorators.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import type { UsageCaller } from './usage-caller.js';
import { batchReply, heldReply, quotaReply, recordedReply, releasedReply, send } from './usage-reply.js';
import { MeteredCaller } from './usage.decorators.js';
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
import { UsageService } from './usage.service.js';

@ApiParam({ name: 'organizationId', schema: { type: 'string', format: 'uuid' } })
@Controller('v1/organizations/:organizationId/usage')
@TagDescription('The usage of an organization and its quota.')
export class OrganizationUsageController {
  constructor(private readonly usage: UsageService) {}

  /** Records a usage event of the organization. It is durable when the response arrives; repeating it changes nothing. */
  @Post()
  @Roles('admin', 'member')
  @Scopes('usage:write')
  @Limited('usage')
  @ApiBody({ type: RecordUsageRequest })
  @ApiCreatedResponse({ type: UsageResponse })
  @ApiOkResponse({ type: UsageResponse, description: 'Recorded before; nothing changed.' })
  @Problems(QuotaExceeded, UsageConflict)
  async recordUsage(
    @MeteredCaller() caller: UsageCaller,
    @Body() body: unknown,
    @Res({ passthrough: true }) response: Response,
  ): Promise<UsageResponse> {
    return send(response, recordedReply(await this.usage.record(caller, body)));
  }

  /** Records up to 1,000 usage events, each with a result of its own. */
  @Post('batch')
  @HttpCode(200)
  @Roles('admin', 'member')
  @Scopes('usage:write')
  @Limited('usage')
  @ApiBody({ type: RecordUsageBatchRequest })
  async recordUsageBatch(
    @MeteredCaller() caller: UsageCaller,
    @Body() body: unknown,
    @Res({ passthrough: true }) response: Response,
  ): Promise<UsageBatchResponse> {
    return send(response, batchReply(await this.usage.recordBatch(caller, body)));
  }

  /** Reads the organization’s quota of the current period. */
  @Get('quota')
  @Roles('admin', 'member')
  @Scopes('usage:read')
  async getQuota(@MeteredCaller() caller: UsageCaller, @Res({ passthrough: true }) response: Response): Promise<QuotaResponse> {
    return send(response, quotaReply(await this.usage.getQuota(caller)));
  }

  /** Reserves tokens before a call to a model. */
  @Post('holds')
  @Roles('admin', 'member')
  @Scopes('usage:write')
  @Limited('usage')
  @Problems(QuotaExceeded, HoldConflict)
  async holdTokens(
    @MeteredCaller() caller: UsageCaller,
    @Body() body: HoldRequest,
    @Res({ passthrough: true }) response: Response,
  ): Promise<UsageHoldResponse> {
    return send(response, heldReply(await this.usage.hold(caller, body)));
  }

  /** Records the tokens that were used in the end, and frees the rest of the hold. No cap refuses it. */
  @Post('holds/:holdId/settle')
  @Roles('admin', 'member')
  @Scopes('usage:write')
  @Limited('usage')
  @ApiBody({ type: RecordUsageRequest })
  @ApiCreatedResponse({ type: UsageResponse })
  @ApiOkResponse({ type: UsageResponse, description: 'Recorded before; nothing changed.' })
  @Problems(HoldNotFound, HoldSettled, UsageConflict)
  async settleHold(
    @MeteredCaller() caller: UsageCaller,
    @Param('holdId', IdPipe) holdId: string,
    @Body() body: unknown,
    @Res({ passthrough: true }) response: Response,
  ): Promise<UsageResponse> {
    return send(response, recordedReply(await this.usage.settle(caller, holdId, body)));
  }

  /** Frees the tokens of a hold. Repeating it changes nothing. */
  @Delete('holds/:holdId')
  @HttpCode(204)
  @Roles('admin', 'member')
  @Scopes('usage:write')
  @Limited('usage')
  @Problems(HoldNotFound, HoldSettled)
  async releaseHold(
    @MeteredCaller() caller: UsageCaller,
    @Param('holdId', IdPipe) holdId: string,
    @Res({ passthrough: true }) response: Response,
  ): Promise<void> {
    send(response, releasedReply(await this.usage.release(caller, holdId)));
  }

  /** Lists when 50, 80 and 100 percent of a period's limit were reached. */
  @Get('alerts')
  @Roles('admin', 'member')
  @Scopes('usage:read')
  @Problems(InvalidCursor)
  async listUsageAlerts(@MeteredCaller() caller: UsageCaller, @Query() query: ListQuery): Promise<UsageAlertListResponse> {
    return UsageAlertListResponse.of(await this.usage.listAlerts(caller, query));
  }
}

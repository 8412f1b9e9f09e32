import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import { ApiBody, ApiCreatedResponse, ApiOkResponse } from '@nestjs/swagger';
import type { Response } from 'express';
import { Limited, SignedIn } from '../access/access.decorators.js';
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

@Controller('v1/usage')
@TagDescription('Your own usage and its quota.')
export class UsageController {
  constructor(private readonly usage: UsageService) {}

  /** Records a usage event of yours. It is durable when the response arrives; repeating it changes nothing. */
  @Post()
  @SignedIn()
  @Limited('usage')
  @ApiBody({ type: RecordUsageRequest })
  @ApiCreatedResponse({ type: UsageResponse })
  @ApiOkResponse({ type: UsageResponse, description: 'Recorded before; nothing changed.' })
  @Problems(QuotaExceeded, UsageConflict)
  async recordOwnUsage(
    @MeteredCaller() caller: UsageCaller,
    @Body() body: unknown,
    @Res({ passthrough: true }) response: Response,
  ): Promise<UsageResponse> {
    return send(response, recordedReply(await this.usage.record(caller, body)));
  }

  /** Records up to 1,000 usage events, each with a result of its own. */
  @Post('batch')
  @HttpCode(200)
  @SignedIn()
  @Limited('usage')
  @ApiBody({ type: RecordUsageBatchRequest })
  async recordOwnUsageBatch(
    @MeteredCaller() caller: UsageCaller,
    @Body() body: unknown,
    @Res({ passthrough: true }) response: Response,
  ): Promise<UsageBatchResponse> {
    return send(response, batchReply(await this.usage.recordBatch(caller, body)));
  }

  /** Reads your quota of the current period. */
  @Get('quota')
  @SignedIn()
  async getOwnQuota(@MeteredCaller() caller: UsageCaller, @Res({ passthrough: true }) response: Response): Promise<QuotaResponse> {
    return send(response, quotaReply(await this.usage.getQuota(caller)));
  }

  /** Reserves tokens before a call to a model. */
  @Post('holds')
  @SignedIn()
  @Limited('usage')
  @Problems(QuotaExceeded, HoldConflict)
  async holdOwnTokens(
    @MeteredCaller() caller: UsageCaller,
    @Body() body: HoldRequest,
    @Res({ passthrough: true }) response: Response,
  ): Promise<UsageHoldResponse> {
    return send(response, heldReply(await this.usage.hold(caller, body)));
  }

  /** Records the tokens that were used in the end, and frees the rest of the hold. No cap refuses it. */
  @Post('holds/:holdId/settle')
  @SignedIn()
  @Limited('usage')
  @ApiBody({ type: RecordUsageRequest })
  @ApiCreatedResponse({ type: UsageResponse })
  @ApiOkResponse({ type: UsageResponse, description: 'Recorded before; nothing changed.' })
  @Problems(HoldNotFound, HoldSettled, UsageConflict)
  async settleOwnHold(
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
  @SignedIn()
  @Limited('usage')
  @Problems(HoldNotFound, HoldSettled)
  async releaseOwnHold(
    @MeteredCaller() caller: UsageCaller,
    @Param('holdId', IdPipe) holdId: string,
    @Res({ passthrough: true }) response: Response,
  ): Promise<void> {
    send(response, releasedReply(await this.usage.release(caller, holdId)));
  }

  /** Lists when 50, 80 and 100 percent of a period's limit were reached. */
  @Get('alerts')
  @SignedIn()
  @Problems(InvalidCursor)
  async listOwnUsageAlerts(@MeteredCaller() caller: UsageCaller, @Query() query: ListQuery): Promise<UsageAlertListResponse> {
    return UsageAlertListResponse.of(await this.usage.listAlerts(caller, query));
  }
}

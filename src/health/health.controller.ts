import { Controller, Get, Header, Req } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiProduces } from '@nestjs/swagger';
import type { Request } from 'express';
import { Limited, Public } from '../access/access.decorators.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { RouteNotFound, ServiceUnavailable } from '../platform/problems/problems.errors.js';
import { HealthResponse } from './health.dto.js';
import { HealthService } from './health.service.js';

/** Routes for operations: without rate limit and without session. */
@Controller()
@Limited()
@TagDescription('Health and metrics, for operations.')
export class HealthController {
  constructor(private readonly health: HealthService) {}

  /** Checks that the process runs. It checks nothing else, so that an unavailable database does not get the process killed. */
  @Get('health/live')
  @Public()
  getLiveness(): HealthResponse {
    return { status: 'ok' };
  }

  /** Checks that requests may be sent here: the database responds, its migrations have run, and no stop is in progress. */
  @Get('health/ready')
  @Public()
  @Problems(ServiceUnavailable)
  async getReadiness(): Promise<HealthResponse> {
    await this.health.requireReady();
    return { status: 'ok' };
  }

  /** Metrics for Prometheus. METRICS_TOKEN, if set, is required as the bearer token. Without it there are no metrics in production. */
  @Get('metrics')
  @Public()
  @Header('content-type', 'text/plain; version=0.0.4; charset=utf-8')
  @ApiBearerAuth('metrics')
  @ApiProduces('text/plain')
  @ApiOkResponse({ schema: { type: 'string', example: 'tenantry_job_runs_total{job="expire_sessions",outcome="done"} 12' } })
  @Problems(RouteNotFound)
  async getMetrics(@Req() request: Request): Promise<string> {
    return this.health.metrics(request.headers.authorization);
  }
}

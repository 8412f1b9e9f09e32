import { Controller, Get, Header, Req } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiProduces } from '@nestjs/swagger';
import type { Request } from 'express';
import { Limited, Public } from '../access/access.decorators.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { RouteNotFound, ServiceUnavailable } from '../platform/problems/problems.errors.js';
import { HealthResponse } from './health.dto.js';
import { HealthService } from './health.service.js';

/** For whoever runs the process: never limited, never in need of a session. */
@Controller()
@Limited()
@TagDescription('For whoever runs the process.')
export class HealthController {
  constructor(private readonly health: HealthService) {}

  /** Whether the process runs. Asks nothing else, so that a database that is away does not get it killed. */
  @Get('health/live')
  @Public()
  getLiveness(): HealthResponse {
    return { status: 'ok' };
  }

  /** Whether requests should be sent here: the database answers, its migrations have run, and no stop is under way. */
  @Get('health/ready')
  @Public()
  @Problems(ServiceUnavailable)
  async getReadiness(): Promise<HealthResponse> {
    await this.health.requireReady();
    return { status: 'ok' };
  }

  /** Metrics for Prometheus. With METRICS_TOKEN set it wants that as bearer token; in production it is off without. */
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

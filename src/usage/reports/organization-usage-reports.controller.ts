import { Controller, Get, Param, Query, StreamableFile } from '@nestjs/common';
import { Roles, Scopes } from '../../access/access.decorators.js';
import { TagDescription } from '../../platform/openapi/tags.decorators.js';
import { Problems } from '../../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../../platform/problems/problems.errors.js';
import { IdPipe } from '../../platform/http/id.pipe.js';
import { CSV_FILE, ApiCsvResponse } from './usage-reports.decorators.js';
import { ExportUsageQuery, ListUsageQuery, SummarizeUsageQuery, UsageListResponse, UsageSummaryResponse } from './usage-reports.dto.js';
import { TooManyGroups } from './usage-reports.errors.js';
import { UsageReportsService } from './usage-reports.service.js';

@Controller('v1/organizations/:organizationId/usage')
@TagDescription('The usage of an organization: events, sums and costs.')
export class OrganizationUsageReportsController {
  constructor(private readonly reports: UsageReportsService) {}

  /** Lists the organization’s usage events, the newest first. */
  @Get()
  @Roles('admin', 'member')
  @Scopes('usage:read')
  @Problems(InvalidCursor)
  async listUsage(@Param('organizationId', IdPipe) id: string, @Query() query: ListUsageQuery): Promise<UsageListResponse> {
    return UsageListResponse.of(await this.reports.list({ kind: 'organization', id }, query));
  }

  /** Sums up the organization’s usage. */
  @Get('summary')
  @Roles('admin', 'member')
  @Scopes('usage:read')
  @Problems(TooManyGroups)
  async summarizeUsage(@Param('organizationId', IdPipe) id: string, @Query() query: SummarizeUsageQuery): Promise<UsageSummaryResponse> {
    return UsageSummaryResponse.of(await this.reports.summarize({ kind: 'organization', id }, query));
  }

  /** Downloads the organization’s usage events as CSV, the newest first. */
  @Get('export.csv')
  @Roles('admin')
  @Scopes('usage:read')
  @ApiCsvResponse()
  async exportUsage(@Param('organizationId', IdPipe) id: string, @Query() query: ExportUsageQuery): Promise<StreamableFile> {
    return new StreamableFile(await this.reports.export({ kind: 'organization', id }, query), CSV_FILE);
  }
}

import { Controller, Get, Query, StreamableFile } from '@nestjs/common';
import { SignedIn } from '../../access/access.decorators.js';
import { CurrentUser, type UserPrincipal } from '../../access/principal.js';
import { TagDescription } from '../../platform/openapi/tags.decorators.js';
import { Problems } from '../../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../../platform/problems/problems.errors.js';
import { CSV_FILE, ApiCsvResponse } from './usage-reports.decorators.js';
import { ExportUsageQuery, ListUsageQuery, SummarizeUsageQuery, UsageListResponse, UsageSummaryResponse } from './usage-reports.dto.js';
import { TooManyGroups } from './usage-reports.errors.js';
import { UsageReportsService } from './usage-reports.service.js';

@Controller('v1/usage')
@TagDescription('Your own usage: events, sums and costs.')
export class UsageReportsController {
  constructor(private readonly reports: UsageReportsService) {}

  /** Lists your own usage events, the newest first. */
  @Get()
  @SignedIn()
  @Problems(InvalidCursor)
  async listOwnUsage(@CurrentUser() { userId }: UserPrincipal, @Query() query: ListUsageQuery): Promise<UsageListResponse> {
    return UsageListResponse.of(await this.reports.list({ kind: 'user', id: userId }, query));
  }

  /** Sums up your own usage. */
  @Get('summary')
  @SignedIn()
  @Problems(TooManyGroups)
  async summarizeOwnUsage(@CurrentUser() { userId }: UserPrincipal, @Query() query: SummarizeUsageQuery): Promise<UsageSummaryResponse> {
    return UsageSummaryResponse.of(await this.reports.summarize({ kind: 'user', id: userId }, query));
  }

  /** Downloads your own usage events as CSV, the newest first. */
  @Get('export.csv')
  @SignedIn()
  @ApiCsvResponse()
  async exportOwnUsage(@CurrentUser() { userId }: UserPrincipal, @Query() query: ExportUsageQuery): Promise<StreamableFile> {
    return new StreamableFile(await this.reports.export({ kind: 'user', id: userId }, query), CSV_FILE);
  }
}

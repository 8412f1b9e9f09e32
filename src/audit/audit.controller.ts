import { Controller, Get, Param, Query } from '@nestjs/common';
import { Roles, Scopes } from '../access/access.decorators.js';
import { Problems } from '../common/api-problems.js';
import { InvalidCursor } from '../common/common.errors.js';
import { IdPipe } from '../common/id.pipe.js';
import { AuditLogResponse, ListAuditLogQuery } from './audit.dto.js';
import { AuditService } from './audit.service.js';

@Controller('v1/organizations/:organizationId/audit-log')
export class AuditController {
  constructor(private readonly audit: AuditService) {}

  /** Lists who did what in the organization, newest first. */
  @Get()
  @Roles('admin')
  @Scopes('audit:read')
  @Problems(InvalidCursor)
  async listAuditLog(
    @Param('organizationId', IdPipe) organizationId: string,
    @Query() query: ListAuditLogQuery,
  ): Promise<AuditLogResponse> {
    return AuditLogResponse.of(await this.audit.list(organizationId, query));
  }
}

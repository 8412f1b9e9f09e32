import { Controller, Get, Param, Query } from '@nestjs/common';
import { Roles, Scopes } from '../access/access.decorators.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import { AuditLogResponse, ListAuditLogQuery } from './audit.dto.js';
import { AuditService } from './audit.service.js';

@Controller('v1/organizations/:organizationId/audit-log')
@TagDescription('The append-only log of an organization.')
export class AuditController {
  constructor(private readonly audit: AuditService) {}

  /** Lists the audit log of the organization, newest first. */
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

import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { Roles, Scopes } from '../../src/access/access.decorators.js';
import { Caller, type Principal } from '../../src/access/principal.js';
import { Idempotent, type IdempotentCall, IdempotentRequest } from '../../src/idempotency/idempotency.decorators.js';
import { IdempotencyService } from '../../src/idempotency/idempotency.service.js';
import { IdPipe } from '../../src/platform/http/id.pipe.js';
import { TagDescription } from '../../src/platform/openapi/tags.decorators.js';
import { ListQuery } from '../../src/platform/pagination/list.dto.js';
import { Problems } from '../../src/platform/problems/problems.decorators.js';
import { InvalidCursor } from '../../src/platform/problems/problems.errors.js';
import { Requires } from '../../src/subscriptions/entitlements/entitlements.decorators.js';
import { CreateProjectRequest, ProjectListResponse, ProjectResponse } from './projects.dto.js';
import { ProjectNameTaken, ProjectNotFound } from './projects.errors.js';
import { ProjectsService } from './projects.service.js';

@Controller('v1/organizations/:organizationId/projects')
@TagDescription('The projects of an organization.')
export class ProjectsController {
  constructor(
    private readonly projects: ProjectsService,
    private readonly idempotency: IdempotencyService,
  ) {}

  /** Creates a project. Only for plans with the feature (plans.json). */
  @Post()
  @Roles('admin', 'member')
  @Scopes('projects:write')
  // Any feature of plans.json. Remove it if every plan has the module.
  @Requires('usage_export')
  @Idempotent()
  @Problems(ProjectNameTaken)
  async createProject(
    @Caller() { actor }: Principal,
    @IdempotentRequest() call: IdempotentCall,
    @Param('organizationId', IdPipe) organizationId: string,
    @Body() body: CreateProjectRequest,
  ): Promise<ProjectResponse> {
    return this.idempotency.once(call, async (tx) => ProjectResponse.of(await this.projects.create(organizationId, body, actor, tx)));
  }

  /** Lists the projects, newest first. */
  @Get()
  @Roles('admin', 'member')
  @Scopes('projects:read')
  @Problems(InvalidCursor)
  async listProjects(@Param('organizationId', IdPipe) organizationId: string, @Query() query: ListQuery): Promise<ProjectListResponse> {
    return ProjectListResponse.of(await this.projects.list(organizationId, query));
  }

  /** Archives a project. It is deleted after 30 days. */
  @Delete(':projectId')
  @HttpCode(204)
  @Roles('admin')
  @Problems(ProjectNotFound)
  async archiveProject(
    @Caller() { actor }: Principal,
    @Param('organizationId', IdPipe) organizationId: string,
    @Param('projectId', IdPipe) projectId: string,
  ): Promise<void> {
    await this.projects.archive(organizationId, projectId, actor);
  }
}

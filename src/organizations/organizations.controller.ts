import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiParam } from '@nestjs/swagger';
import { Operator, Roles, Scopes, SignedIn } from '../access/access.decorators.js';
import { OrganizationNotFound } from '../access/access.errors.js';
import { Caller, CurrentUser, type Principal, type UserPrincipal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor, ManagedByClerk } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { Idempotent, type IdempotentCall, IdempotentRequest } from '../idempotency/idempotency.decorators.js';
import { IdempotencyService } from '../idempotency/idempotency.service.js';
import { DeleteOwnerQuery } from '../subscriptions/subscriptions.dto.js';
import { SubscriptionActive } from '../subscriptions/subscriptions.errors.js';
import {
  CreateOrganizationRequest,
  OrganizationResponse,
  OwnOrganizationListResponse,
  OwnOrganizationResponse,
  UpdateOrganizationRequest,
} from './organizations.dto.js';
import { SlugReserved, SlugTaken } from './organizations.errors.js';
import { OrganizationsService } from './organizations.service.js';

@Controller('v1/organizations')
@TagDescription('Tenants. For an outsider an organization does not exist.')
export class OrganizationsController {
  constructor(
    private readonly organizations: OrganizationsService,
    private readonly idempotency: IdempotencyService,
  ) {}

  /** Creates an organization. You become its admin. */
  @Post()
  @SignedIn()
  @Idempotent()
  @Problems(SlugTaken, SlugReserved)
  async createOrganization(
    @CurrentUser() caller: UserPrincipal,
    @IdempotentRequest() call: IdempotentCall,
    @Body() body: CreateOrganizationRequest,
  ): Promise<OwnOrganizationResponse> {
    return this.idempotency.once(call, async (tx) => OwnOrganizationResponse.of(await this.organizations.create(caller, body, tx)));
  }

  /** Lists the organizations you belong to, newest first. */
  @Get()
  @SignedIn()
  @Problems(InvalidCursor)
  async listOrganizations(@CurrentUser() caller: UserPrincipal, @Query() query: ListQuery): Promise<OwnOrganizationListResponse> {
    return OwnOrganizationListResponse.of(await this.organizations.listOfUser(caller.userId, query));
  }

  /** Reads one of your organizations by its slug. */
  @Get('by-slug/:slug')
  @ApiParam({ name: 'slug', description: 'The slug.', example: 'acme' })
  @SignedIn()
  @Problems(OrganizationNotFound)
  async getOrganizationBySlug(@CurrentUser() caller: UserPrincipal, @Param('slug') slug: string): Promise<OwnOrganizationResponse> {
    return OwnOrganizationResponse.of(await this.organizations.getBySlug(slug, caller));
  }

  /** Reads an organization. */
  @Get(':organizationId')
  @Roles('admin', 'member')
  @Scopes('organization:read')
  async getOrganization(@Param('organizationId', IdPipe) organizationId: string): Promise<OrganizationResponse> {
    return OrganizationResponse.of(await this.organizations.get(organizationId));
  }

  /** Changes name, slug or image. Omitted fields stay. */
  @Patch(':organizationId')
  @Roles('admin')
  @Problems(SlugTaken, SlugReserved, ManagedByClerk)
  async updateOrganization(
    @Caller() { actor }: Principal,
    @Param('organizationId', IdPipe) organizationId: string,
    @Body() body: UpdateOrganizationRequest,
  ): Promise<OrganizationResponse> {
    return OrganizationResponse.of(await this.organizations.change(organizationId, body, actor));
  }

  /** Deletes an organization. Its members lose access and its API keys fail at once. An operator can restore it for a while. */
  @Delete(':organizationId')
  @HttpCode(204)
  @Roles('admin')
  @Problems(ManagedByClerk, SubscriptionActive)
  async deleteOrganization(
    @Caller() { actor }: Principal,
    @Param('organizationId', IdPipe) organizationId: string,
    @Query() query: DeleteOwnerQuery,
  ): Promise<void> {
    await this.organizations.delete(organizationId, query, actor);
  }

  /** Restores a deleted organization. If its slug was taken meanwhile, it gets another one. */
  @Post(':organizationId/restore')
  @HttpCode(200)
  @Operator()
  @Problems(OrganizationNotFound, ManagedByClerk)
  async restoreOrganization(
    @Caller() { actor }: Principal,
    @Param('organizationId', IdPipe) organizationId: string,
  ): Promise<OrganizationResponse> {
    return OrganizationResponse.of(await this.organizations.restore(organizationId, actor));
  }
}

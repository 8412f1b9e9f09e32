import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Query } from '@nestjs/common';
import { Roles, Scopes } from '../access/access.decorators.js';
import { Caller, CurrentUser, type Principal, type UserPrincipal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor, ManagedByClerk } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import { ChangeRoleRequest, ListMembershipsQuery, MembershipListResponse, MembershipResponse } from './memberships.dto.js';
import { LastAdmin, MembershipNotFound } from './memberships.errors.js';
import { MembershipsService } from './memberships.service.js';

@Controller('v1/organizations/:organizationId/memberships')
@TagDescription('The members of an organization and their roles.')
export class MembershipsController {
  constructor(private readonly memberships: MembershipsService) {}

  /** Lists the members. */
  @Get()
  @Roles('admin', 'member')
  @Scopes('members:read')
  @Problems(InvalidCursor)
  async listMemberships(
    @Param('organizationId', IdPipe) organizationId: string,
    @Query() query: ListMembershipsQuery,
  ): Promise<MembershipListResponse> {
    return MembershipListResponse.of(await this.memberships.list(organizationId, query));
  }

  /** Changes a member's role. The last admin stays admin. */
  @Patch(':membershipId')
  @Roles('admin')
  @Problems(MembershipNotFound, LastAdmin, ManagedByClerk)
  async changeMembershipRole(
    @Caller() { actor }: Principal,
    @Param('organizationId', IdPipe) organizationId: string,
    @Param('membershipId', IdPipe) membershipId: string,
    @Body() { role }: ChangeRoleRequest,
  ): Promise<MembershipResponse> {
    return MembershipResponse.of(await this.memberships.changeRole(organizationId, membershipId, role, actor));
  }

  /** Removes a member. Admins remove anyone; members only themselves. The last admin stays. */
  @Delete(':membershipId')
  @HttpCode(204)
  @Roles('admin', 'member')
  @Problems(MembershipNotFound, LastAdmin, ManagedByClerk)
  async removeMembership(
    @CurrentUser() caller: UserPrincipal,
    @Param('organizationId', IdPipe) organizationId: string,
    @Param('membershipId', IdPipe) membershipId: string,
  ): Promise<void> {
    await this.memberships.remove(organizationId, membershipId, caller);
  }
}

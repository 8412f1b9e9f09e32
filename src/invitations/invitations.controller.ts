import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { Roles, Scopes } from '../access/access.decorators.js';
import { UntrustedRedirect } from '../access/access.errors.js';
import { Caller, CurrentUser, type Principal, type UserPrincipal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor, ManagedByClerk } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import { Idempotent, type IdempotentCall, IdempotentRequest } from '../idempotency/idempotency.decorators.js';
import { IdempotencyService } from '../idempotency/idempotency.service.js';
import { SeatLimitReached } from '../memberships/memberships.errors.js';
import {
  CreateInvitationRequest,
  InvitationListResponse,
  InvitationResponse,
  ListInvitationsQuery,
  ResendInvitationRequest,
} from './invitations.dto.js';
import { AlreadyMember, EmailNotVerified, InvitationNotFound, InvitationNotPending, InvitationPending } from './invitations.errors.js';
import { InvitationsService } from './invitations.service.js';

@Controller('v1/organizations/:organizationId/invitations')
@TagDescription('Invitations, as the organization sees them.')
export class InvitationsController {
  constructor(
    private readonly invitations: InvitationsService,
    private readonly idempotency: IdempotencyService,
  ) {}

  /**
   * Invites an email address by mail. Your own email must be verified, and members and open invitations share the
   * plan's seats. Too many mails, to the address, from you or from the organization, are refused with 429.
   */
  @Post()
  @Roles('admin')
  @Idempotent()
  @Problems(InvitationPending, AlreadyMember, EmailNotVerified, SeatLimitReached, ManagedByClerk, UntrustedRedirect)
  async createInvitation(
    @CurrentUser() caller: UserPrincipal,
    @IdempotentRequest() call: IdempotentCall,
    @Param('organizationId', IdPipe) organizationId: string,
    @Body() body: CreateInvitationRequest,
  ): Promise<InvitationResponse> {
    return this.idempotency.once(call, async (tx) =>
      InvitationResponse.of(await this.invitations.create(organizationId, body, caller, tx)),
    );
  }

  /** Lists the invitations, newest first. */
  @Get()
  @Roles('admin')
  @Scopes('members:read')
  @Problems(InvalidCursor)
  async listInvitations(
    @Param('organizationId', IdPipe) organizationId: string,
    @Query() query: ListInvitationsQuery,
  ): Promise<InvitationListResponse> {
    return InvitationListResponse.of(await this.invitations.list(organizationId, query));
  }

  /** Withdraws a pending invitation. */
  @Delete(':invitationId')
  @HttpCode(204)
  @Roles('admin')
  @Problems(InvitationNotFound, InvitationNotPending, ManagedByClerk)
  async revokeInvitation(
    @Caller() { actor }: Principal,
    @Param('organizationId', IdPipe) organizationId: string,
    @Param('invitationId', IdPipe) invitationId: string,
  ): Promise<void> {
    await this.invitations.revoke(organizationId, invitationId, actor);
  }

  /** Sends a pending invitation again, with a new token and a new expiry. Too many mails are refused with 429. */
  @Post(':invitationId/resend')
  @HttpCode(200)
  @Roles('admin')
  @Problems(InvitationNotFound, InvitationNotPending, EmailNotVerified, SeatLimitReached, ManagedByClerk, UntrustedRedirect)
  async resendInvitation(
    @CurrentUser() caller: UserPrincipal,
    @Param('organizationId', IdPipe) organizationId: string,
    @Param('invitationId', IdPipe) invitationId: string,
    @Body() { acceptUrl }: ResendInvitationRequest,
  ): Promise<InvitationResponse> {
    return InvitationResponse.of(await this.invitations.resend(organizationId, invitationId, acceptUrl, caller));
  }
}

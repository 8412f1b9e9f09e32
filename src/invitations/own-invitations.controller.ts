import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { SignedIn } from '../access/access.decorators.js';
import { CurrentUser, type UserPrincipal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor, ManagedByClerk } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { SeatLimitReached } from '../memberships/memberships.errors.js';
import { AcceptInvitationRequest, OwnInvitationListResponse, OwnInvitationResponse } from './invitations.dto.js';
import { EmailNotVerified, InvitationGone, InvitationNotFound } from './invitations.errors.js';
import { InvitationsService } from './invitations.service.js';

/** Invitations, as the invited person sees them. */
@Controller('v1/invitations')
@TagDescription('Invitations, as the invited person sees them.')
export class OwnInvitationsController {
  constructor(private readonly invitations: InvitationsService) {}

  /** Lists the invitations to your verified email. */
  @Get()
  @SignedIn()
  @Problems(InvalidCursor)
  async listOwnInvitations(@CurrentUser() caller: UserPrincipal, @Query() query: ListQuery): Promise<OwnInvitationListResponse> {
    return OwnInvitationListResponse.of(await this.invitations.listOwn(caller.userId, query));
  }

  /** Accepts an invitation with the token from the mail. A member who accepts again gets the same response; a person who left or was removed gets 410. */
  @Post('accept')
  @HttpCode(200)
  @SignedIn()
  @Problems(InvitationNotFound, InvitationGone, EmailNotVerified, ManagedByClerk, SeatLimitReached)
  async acceptInvitationByToken(
    @CurrentUser() caller: UserPrincipal,
    @Body() { token }: AcceptInvitationRequest,
  ): Promise<OwnInvitationResponse> {
    return OwnInvitationResponse.of(await this.invitations.accept({ token }, caller));
  }

  /** Accepts an invitation from your list. A member who accepts again gets the same response; a person who left or was removed gets 410. */
  @Post(':invitationId/accept')
  @HttpCode(200)
  @SignedIn()
  @Problems(InvitationNotFound, InvitationGone, ManagedByClerk, SeatLimitReached)
  async acceptInvitation(@CurrentUser() caller: UserPrincipal, @Param('invitationId', IdPipe) id: string): Promise<OwnInvitationResponse> {
    return OwnInvitationResponse.of(await this.invitations.accept({ id }, caller));
  }

  /** Declines an invitation from your list. Declining again returns the same. */
  @Post(':invitationId/decline')
  @HttpCode(200)
  @SignedIn()
  @Problems(InvitationNotFound, InvitationGone, ManagedByClerk)
  async declineInvitation(@CurrentUser() caller: UserPrincipal, @Param('invitationId', IdPipe) id: string): Promise<OwnInvitationResponse> {
    return OwnInvitationResponse.of(await this.invitations.decline({ id }, caller));
  }
}

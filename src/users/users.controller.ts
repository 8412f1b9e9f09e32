import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { Operator, SignedIn } from '../access/access.decorators.js';
import { CurrentUser, type UserPrincipal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor, ManagedByClerk } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { LastAdmin } from '../memberships/memberships.errors.js';
import { RevokedSessionsResponse, SessionListResponse } from '../sessions/sessions.dto.js';
import { SessionsService } from '../sessions/sessions.service.js';
import { DeleteOwnerQuery } from '../subscriptions/subscriptions.dto.js';
import { SubscriptionActive } from '../subscriptions/subscriptions.errors.js';
import { ListUsersQuery, UpdateProfileRequest, UserListResponse, UserResponse } from './users.dto.js';
import { CannotSuspendSelf, UserNotFound } from './users.errors.js';
import { UsersService } from './users.service.js';

@Controller('v1/users')
@TagDescription('People: your own profile, and all users for operators.')
export class UsersController {
  constructor(
    private readonly users: UsersService,
    private readonly sessions: SessionsService,
  ) {}

  /** Reads your profile. */
  @Get('me')
  @SignedIn()
  async getMe(@CurrentUser() caller: UserPrincipal): Promise<UserResponse> {
    return UserResponse.of(await this.users.getCaller(caller.userId));
  }

  /** Changes your profile. Omitted fields stay. */
  @Patch('me')
  @SignedIn()
  @Problems(ManagedByClerk)
  async updateMe(@CurrentUser() caller: UserPrincipal, @Body() body: UpdateProfileRequest): Promise<UserResponse> {
    return UserResponse.of(await this.users.changeProfile(caller.userId, body, caller.actor));
  }

  /** Deletes your user. Every session and way to sign in ends at once, and your email is free again. */
  @Delete('me')
  @HttpCode(204)
  @SignedIn()
  @Problems(ManagedByClerk, LastAdmin, SubscriptionActive)
  async deleteMe(@CurrentUser() caller: UserPrincipal, @Query() query: DeleteOwnerQuery): Promise<void> {
    await this.users.delete(caller.userId, query, caller.actor);
  }

  /** Lists users, newest first. */
  @Get()
  @Operator()
  @Problems(InvalidCursor)
  async listUsers(@Query() query: ListUsersQuery): Promise<UserListResponse> {
    return UserListResponse.of(await this.users.list(query));
  }

  /** Reads a user: yourself, a fellow member, or any user for an operator. */
  @Get(':userId')
  @SignedIn()
  @Problems(UserNotFound)
  async getUser(@CurrentUser() caller: UserPrincipal, @Param('userId', IdPipe) userId: string): Promise<UserResponse> {
    return UserResponse.of(await this.users.getVisible(userId, caller));
  }

  /** Suspends a user. They are refused everywhere until they are unsuspended. */
  @Post(':userId/suspend')
  @HttpCode(200)
  @Operator()
  @Problems(UserNotFound, CannotSuspendSelf)
  async suspendUser(@CurrentUser() caller: UserPrincipal, @Param('userId', IdPipe) userId: string): Promise<UserResponse> {
    return UserResponse.of(await this.users.suspend(userId, caller.actor));
  }

  /** Ends the suspension of a user. */
  @Post(':userId/unsuspend')
  @HttpCode(200)
  @Operator()
  @Problems(UserNotFound)
  async unsuspendUser(@CurrentUser() caller: UserPrincipal, @Param('userId', IdPipe) userId: string): Promise<UserResponse> {
    return UserResponse.of(await this.users.unsuspend(userId, caller.actor));
  }

  /** Lists the sessions of a user. */
  @Get(':userId/sessions')
  @Operator()
  @Problems(InvalidCursor)
  async listUserSessions(
    @CurrentUser() caller: UserPrincipal,
    @Param('userId', IdPipe) userId: string,
    @Query() query: ListQuery,
  ): Promise<SessionListResponse> {
    return SessionListResponse.of(await this.sessions.list(userId, query), caller.sessionId);
  }

  /** Ends all sessions of a user. */
  @Delete(':userId/sessions')
  @Operator()
  async revokeUserSessions(
    @CurrentUser() caller: UserPrincipal,
    @Param('userId', IdPipe) userId: string,
  ): Promise<RevokedSessionsResponse> {
    return { revoked: await this.sessions.revokeAll(userId, {}, caller.actor) };
  }
}

import { Controller, Delete, Get, HttpCode, Param, Query } from '@nestjs/common';
import { SignedIn } from '../access/access.decorators.js';
import { CurrentUser, type UserPrincipal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { RevokedSessionsResponse, SessionListResponse, SessionResponse } from './sessions.dto.js';
import { SessionNotFound } from './sessions.errors.js';
import { SessionsService } from './sessions.service.js';

@Controller('v1/sessions')
@TagDescription('Your sign-ins. Every process refuses a revoked session at its next request.')
export class SessionsController {
  constructor(private readonly sessions: SessionsService) {}

  /** Lists your sessions, newest first. */
  @Get()
  @SignedIn()
  @Problems(InvalidCursor)
  async listSessions(@CurrentUser() caller: UserPrincipal, @Query() query: ListQuery): Promise<SessionListResponse> {
    return SessionListResponse.of(await this.sessions.list(caller.userId, query), caller.sessionId);
  }

  /** Reads the session of this request. */
  @Get('current')
  @SignedIn()
  async getCurrentSession(@CurrentUser() caller: UserPrincipal): Promise<SessionResponse> {
    return SessionResponse.of(await this.sessions.getCurrent(caller), caller.sessionId);
  }

  /** Ends one of your sessions. Its token is refused from the next request on. */
  @Delete(':sessionId')
  @HttpCode(204)
  @SignedIn()
  @Problems(SessionNotFound)
  async revokeSession(@CurrentUser() caller: UserPrincipal, @Param('sessionId', IdPipe) sessionId: string): Promise<void> {
    await this.sessions.revoke(caller.userId, sessionId, caller.actor);
  }

  /** Ends all your sessions except the session of this request. */
  @Delete()
  @SignedIn()
  async revokeOtherSessions(@CurrentUser() caller: UserPrincipal): Promise<RevokedSessionsResponse> {
    return { revoked: await this.sessions.revokeAll(caller.userId, { except: caller.sessionId }, caller.actor) };
  }
}

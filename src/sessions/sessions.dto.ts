import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import type { Page } from '../platform/pagination/cursors.service.js';
import type { Session } from './sessions.table.js';

@ApiSchema({ description: 'A session: a device that is signed in.' })
export class SessionResponse {
  /** The session's id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** Whether this request uses the session. @example true */
  current!: boolean;

  /** The network address of the sign-in. @example "203.0.113.7" */
  ipAddress!: string | null;

  /** The user agent of the sign-in. @example "Mozilla/5.0 (X11; Linux x64)" */
  userAgent!: string | null;

  /** When the session started. */
  createdAt!: Date;

  /** The last use, to the minute: not every request saves it. */
  lastUsedAt!: Date;

  /** When the session ends if it is not used before. */
  expiresAt!: Date;

  static of(session: Session, currentId: string): SessionResponse {
    const { id, ipAddress, userAgent, createdAt, lastUsedAt, expiresAt } = session;
    return { id, current: id === currentId, ipAddress: ipAddress || null, userAgent: userAgent || null, createdAt, lastUsedAt, expiresAt };
  }
}

@ApiSchema({ description: 'A page of sessions.' })
export class SessionListResponse {
  /** The sessions, newest first. */
  data!: SessionResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<Session>, currentId: string): SessionListResponse {
    return { data: data.map((session) => SessionResponse.of(session, currentId)), nextCursor };
  }
}

@ApiSchema({ description: 'The result of ending sessions.' })
export class RevokedSessionsResponse {
  /** The number of ended sessions. @example 3 */
  @ApiProperty({ type: 'integer' })
  revoked!: number;
}

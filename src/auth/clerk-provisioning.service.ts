import { Inject, Injectable } from '@nestjs/common';
import { ClerkSignIn } from '../access/credentials/clerk-sign-in.port.js';
import type { ClerkIdentity } from '../access/credentials/clerk-tokens.service.js';
import { DATABASE, type Database } from '../platform/database/database.js';
import { SessionsService } from '../sessions/sessions.service.js';
import { UsersService } from '../users/users.service.js';

/** Creates the rows of a Clerk user and session when a token arrives before their webhooks. */
@Injectable()
export class ClerkProvisioning extends ClerkSignIn {
  constructor(
    private readonly users: UsersService,
    private readonly sessions: SessionsService,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    super();
  }

  override async provision(
    { clerkUserId, clerkSessionId }: ClerkIdentity,
    device: { ipAddress?: string; userAgent?: string },
  ): Promise<void> {
    await this.db.transaction(async (tx) => {
      const user = await this.users.findOrCreateClerkStub(clerkUserId, tx);
      if (user !== undefined) await this.sessions.mirrorClerkSession(user.id, clerkSessionId, device, tx);
    });
  }
}

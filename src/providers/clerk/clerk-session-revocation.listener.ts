import { Injectable, type OnModuleInit } from '@nestjs/common';
import { OutboxService } from '../../outbox/outbox.service.js';
import { CLERK_SESSION_REVOKE, type ClerkSessionEnd } from '../../sessions/sessions.service.js';
import { ClerkApi } from './clerk-api.client.js';

/** Revokes at Clerk the sessions that ended here. */
@Injectable()
export class ClerkSessionRevocation implements OnModuleInit {
  constructor(
    private readonly outbox: OutboxService,
    private readonly api: ClerkApi,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(CLERK_SESSION_REVOKE, (payload) => this.api.revokeSession((payload as ClerkSessionEnd).clerkSessionId));
  }
}

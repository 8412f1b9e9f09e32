import { Injectable, type OnModuleInit } from '@nestjs/common';
import { readCredential } from '../access/credentials/credentials.js';
import { sessionCookieNames } from '../access/credentials/session-cookies.js';
import type { UserPrincipal } from '../access/principal.js';
import { trustedRedirect } from '../access/trusted-redirect.js';
import { OutboxService } from '../outbox/outbox.service.js';
import { Config } from '../platform/config/config.js';
import { ManagedByClerk } from '../platform/problems/problems.errors.js';
import { UsersService } from '../users/users.service.js';
import type { User } from '../users/users.table.js';
import type { SignInRequest, SignUpRequest } from './auth.dto.js';
import type { AuthAnswer } from './better-auth/auth-answer.js';
import type { AuthRequest } from './better-auth/auth-request.js';
import { BetterAuthClient } from './better-auth/better-auth.client.js';
import type { VerificationMailRequest } from './emails/emails.dto.js';
import { EmailVerifications } from './emails/email-verifications.service.js';
import type { LinkVisitor } from './links/link-visitors.service.js';
import { KnownDevices } from './passwords/known-devices.service.js';
import { PasswordAttempts } from './passwords/password-attempts.service.js';
import { PasswordRules } from './passwords/password-rules.service.js';
import type { ChangePasswordRequest, PasswordResetMailRequest, ResetPasswordRequest } from './passwords/passwords.dto.js';
import { SignInMetrics } from './sign-in-metrics.service.js';

const RESET_REQUESTED = 'auth.password_reset_requested';

interface ResetRequest extends PasswordResetMailRequest {
  /** Whether it came from a known device or network of the account's owner. Absent in entries of version 0.1. */
  isKnown?: boolean;
}

@Injectable()
export class AuthService implements OnModuleInit {
  constructor(
    private readonly config: Config,
    private readonly betterAuth: BetterAuthClient,
    private readonly passwordRules: PasswordRules,
    private readonly attempts: PasswordAttempts,
    private readonly devices: KnownDevices,
    private readonly verifications: EmailVerifications,
    private readonly users: UsersService,
    private readonly outbox: OutboxService,
    private readonly signIns: SignInMetrics,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(RESET_REQUESTED, (payload) => this.sendPasswordReset(payload as ResetRequest));
  }

  async forward(request: AuthRequest, body?: object): Promise<AuthAnswer> {
    return this.betterAuth.send(request, body);
  }

  /**
   * Forwards a change to the caller's sign-in methods.
   * @throws {ManagedByClerk} for a user who signs in with Clerk
   */
  async forwardForCaller(caller: UserPrincipal, request: AuthRequest, body: object): Promise<AuthAnswer> {
    await this.requireLocalUser(caller);
    return this.betterAuth.send(request, body);
  }

  async signInWithPassword(request: AuthRequest, body: SignInRequest): Promise<AuthAnswer> {
    const check = () => this.betterAuth.send(request, body);
    return this.signIns.count('password', () => this.attempts.run({ email: body.email }, request, check));
  }

  async signInWithProvider(provider: string, request: AuthRequest, body?: object): Promise<AuthAnswer> {
    return this.signIns.count(provider, () => this.betterAuth.send(request, body));
  }

  async signUp(request: AuthRequest, body: SignUpRequest): Promise<AuthAnswer> {
    return this.signIns.count('sign_up', async () => {
      await this.passwordRules.require(body.password, body.email);
      return this.betterAuth.send(request, body);
    });
  }

  /** @throws {WeakPassword} before the token is used up */
  async resetPassword(request: AuthRequest, body: ResetPasswordRequest): Promise<AuthAnswer> {
    const userId = await this.betterAuth.findResetUserId(body.token);
    const user = userId === undefined ? undefined : await this.users.find(userId);
    await this.passwordRules.require(body.newPassword, user?.email ?? null);
    return this.betterAuth.send(request, body);
  }

  async changePassword(caller: UserPrincipal, request: AuthRequest, body: ChangePasswordRequest): Promise<AuthAnswer> {
    const { email } = await this.requireLocalUser(caller);
    await this.passwordRules.require(body.newPassword, email);
    const change = { ...body, revokeOtherSessions: true };
    return this.attempts.run({ sessionId: caller.sessionId }, request, () => this.betterAuth.send(request, change));
  }

  /** @throws {ManagedByClerk} for a Clerk token: end its session at Clerk, or with `DELETE /v1/sessions` */
  async signOut(request: AuthRequest): Promise<AuthAnswer> {
    if (readCredential(request, sessionCookieNames(this.config.publicUrl))?.kind === 'clerk') throw new ManagedByClerk();
    return this.betterAuth.send(request);
  }

  /** Looks the user up later, in the outbox, so that the response does not reveal whether an account exists. */
  async requestPasswordReset({ email, ...body }: PasswordResetMailRequest, request: AuthRequest): Promise<void> {
    const redirectTo = trustedRedirect(this.config, body.redirectTo);
    const isKnown = (await this.devices.recognize(email, request)) !== undefined;
    await this.outbox.enqueue(RESET_REQUESTED, { email, redirectTo, isKnown } satisfies ResetRequest);
  }

  async requestVerification({ email, ...body }: VerificationMailRequest, { session }: LinkVisitor): Promise<void> {
    const callbackURL = trustedRedirect(this.config, body.callbackURL);
    await this.verifications.request({ email, callbackURL, sessionId: session?.id });
  }

  async signIn(email: string, password: string): Promise<string | undefined> {
    return this.betterAuth.signIn(email, password);
  }

  private async requireLocalUser({ userId }: UserPrincipal): Promise<User> {
    const user = await this.users.getCaller(userId);
    if (user.clerkUserId !== null) throw new ManagedByClerk();
    return user;
  }

  private async sendPasswordReset({ email, redirectTo, isKnown }: ResetRequest): Promise<void> {
    const user = await this.users.findByEmail(email);
    const isManagedByClerk = user !== undefined && user.clerkUserId !== null;
    if (!isManagedByClerk) await this.betterAuth.sendPasswordReset(email, redirectTo, isKnown);
  }
}

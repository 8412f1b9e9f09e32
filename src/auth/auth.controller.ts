import { Body, Controller, Get, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiCookieAuth, ApiHeader, ApiOkResponse, ApiParam, ApiResponse } from '@nestjs/swagger';
import type { Response } from 'express';
import { Limited, Public, SignedIn } from '../access/access.decorators.js';
import { AmbiguousCredentials, InvalidCredentials, UntrustedOrigin, UntrustedRedirect, UserSuspended } from '../access/access.errors.js';
import { CurrentUser, type UserPrincipal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { ManagedByClerk } from '../platform/problems/problems.errors.js';
import { EmailTaken } from '../users/users.errors.js';
import {
  LinkResponse,
  SignInErrorQuery,
  SignInRequest,
  SignInResponse,
  SignOutResponse,
  SignUpRequest,
  SignUpResponse,
  SocialSignInRequest,
  SocialSignInResponse,
  StatusResponse,
} from './auth.dto.js';
import {
  InvalidToken,
  NoPassword,
  ProviderNotFound,
  ProviderSignInFailed,
  WeakPassword,
  WrongCredentials,
  WrongPassword,
} from './auth.errors.js';
import { AuthService } from './auth.service.js';
import { sendAuthAnswer } from './better-auth/auth-answer.js';
import { type AuthRequest, FromRequest } from './better-auth/auth-request.js';
import { ChangeEmailRequest, VerificationMailRequest } from './emails/emails.dto.js';
import { EmailChanges } from './emails/email-changes.service.js';
import { LinkVisitors } from './links/link-visitors.service.js';
import {
  ChangePasswordRequest,
  ChangePasswordResponse,
  PasswordResetMailRequest,
  ResetPasswordPageQuery,
  ResetPasswordRequest,
} from './passwords/passwords.dto.js';

/** The header in which a response returns the token of a new session. */
const TOKEN_HEADER = { 'set-auth-token': { $ref: '#/components/headers/set-auth-token' } };

/** The form of path parameters that are forwarded to Better Auth; `forwardedPath` checks it. */
const PLAIN_WORD = { type: 'string', pattern: '^[A-Za-z0-9_-]{1,200}$' };

/** One route for each endpoint of Better Auth that we use. The others cannot be reached. */
@Controller('v1/auth')
@TagDescription('Sign-up, sign-in and sign-out, proving an address, and changing a password or an address.')
export class AuthController {
  constructor(
    private readonly auth: AuthService,
    private readonly emailChanges: EmailChanges,
    private readonly visitors: LinkVisitors,
  ) {}

  /** Creates a user with email and password, and signs them in. */
  @Post('sign-up/email')
  @HttpCode(200)
  @Public()
  @Limited('auth')
  @ApiOkResponse({ type: SignUpResponse, headers: TOKEN_HEADER })
  @Problems(EmailTaken, WeakPassword, UntrustedOrigin, UntrustedRedirect)
  async signUp(@FromRequest() request: AuthRequest, @Res() response: Response, @Body() body: SignUpRequest): Promise<void> {
    sendAuthAnswer(response, await this.auth.signUp(request, body));
  }

  /** Signs in with email and password. */
  @Post('sign-in/email')
  @HttpCode(200)
  @Public()
  @Limited('auth')
  @ApiOkResponse({ type: SignInResponse, headers: TOKEN_HEADER })
  @Problems(WrongCredentials, UserSuspended, UntrustedOrigin, UntrustedRedirect)
  async signIn(@FromRequest() request: AuthRequest, @Res() response: Response, @Body() body: SignInRequest): Promise<void> {
    sendAuthAnswer(response, await this.auth.signInWithPassword(request, body));
  }

  /** Starts signing in with Google or GitHub. */
  @Post('sign-in/social')
  @HttpCode(200)
  @Public()
  @Limited('auth')
  @ApiOkResponse({ type: SocialSignInResponse, headers: TOKEN_HEADER })
  @Problems(ProviderNotFound, ProviderSignInFailed, InvalidToken, UserSuspended, UntrustedOrigin, UntrustedRedirect)
  async signInWithProvider(
    @FromRequest() request: AuthRequest,
    @Res() response: Response,
    @Body() body: SocialSignInRequest,
  ): Promise<void> {
    sendAuthAnswer(response, await this.auth.signInWithProvider(body.provider, request, body));
  }

  /** Finishes signing in after the provider redirects back. */
  @Get('callback/:provider')
  @Public()
  @Limited('auth')
  @ApiParam({ name: 'provider', description: 'The provider.', schema: { ...PLAIN_WORD, example: 'google' } })
  @ApiResponse({ status: 302, description: 'Redirects to the `callbackURL`, signed in, or to the `errorCallbackURL` with `?error=`.' })
  async finishProviderSignIn(
    @FromRequest() request: AuthRequest,
    @Res() response: Response,
    @Param('provider') provider: string,
  ): Promise<void> {
    sendAuthAnswer(response, await this.auth.signInWithProvider(provider, request));
  }

  /** Shows why signing in with a provider failed, when the request named no page for that. */
  @Get('error')
  @Public()
  @Limited('auth')
  @HttpCode(400)
  @Problems(ProviderSignInFailed)
  showSignInError(@Query() { error }: SignInErrorQuery): never {
    throw new ProviderSignInFailed({
      detail: `Signing in with the provider failed: ${(error ?? 'unknown').replaceAll(/[^\w ]/g, '').slice(0, 60)}.`,
    });
  }

  /** Starts linking a Google or GitHub account to your user. */
  @Post('link-social')
  @HttpCode(200)
  @SignedIn()
  @ApiOkResponse({ type: LinkResponse })
  @Problems(ProviderNotFound, ProviderSignInFailed, InvalidToken, ManagedByClerk, UntrustedRedirect)
  async linkProvider(
    @CurrentUser() caller: UserPrincipal,
    @FromRequest() request: AuthRequest,
    @Res() response: Response,
    @Body() body: SocialSignInRequest,
  ): Promise<void> {
    sendAuthAnswer(response, await this.auth.forwardForCaller(caller, request, body));
  }

  /** Ends the current session. Also succeeds with a token or cookie that is no longer valid. */
  @Post('sign-out')
  @HttpCode(200)
  @Public()
  @Limited('auth')
  @ApiBearerAuth('session')
  @ApiCookieAuth('cookie')
  @ApiOkResponse({ type: SignOutResponse })
  @Problems(AmbiguousCredentials, InvalidCredentials, UntrustedOrigin, ManagedByClerk)
  async signOut(@FromRequest() request: AuthRequest, @Res() response: Response): Promise<void> {
    sendAuthAnswer(response, await this.auth.signOut(request));
  }

  /** Sends the verification mail again. The response does not reveal whether the user exists. In the session that requested it, opening the link is enough. */
  @Post('send-verification-email')
  @HttpCode(200)
  @Public()
  @Limited('auth', 'mail')
  @ApiBearerAuth('session')
  @ApiCookieAuth('cookie')
  @Problems(UntrustedRedirect)
  async sendVerificationEmail(@FromRequest() request: AuthRequest, @Body() body: VerificationMailRequest): Promise<StatusResponse> {
    await this.auth.requestVerification(body, await this.visitors.read(request));
    return { status: true };
  }

  /** Sends a link for choosing a new password. The response does not reveal whether the user exists. */
  @Post('request-password-reset')
  @HttpCode(200)
  @Public()
  @Limited('auth', 'mail')
  @Problems(UntrustedRedirect)
  async requestPasswordReset(@FromRequest() request: AuthRequest, @Body() body: PasswordResetMailRequest): Promise<StatusResponse> {
    await this.auth.requestPasswordReset(body, request);
    return { status: true };
  }

  /** Redirects the link in the mail to your page, with the token as `?token=`. Opening it changes nothing. */
  @Get('reset-password/:token')
  @Public()
  @Limited('auth')
  @ApiParam({ name: 'token', description: 'The token from the mail.', schema: { ...PLAIN_WORD, example: 'h5Jt0cZ1RkqYv8mWn3Xb7LpA' } })
  @ApiResponse({ status: 302, description: 'Redirects to your page with `?token=`, or with `?error=` for an invalid token.' })
  @Problems(UntrustedRedirect)
  async openPasswordReset(
    @FromRequest() request: AuthRequest,
    @Res() response: Response,
    @Param('token') _token: string,
    @Query() _query: ResetPasswordPageQuery,
  ): Promise<void> {
    sendAuthAnswer(response, await this.auth.forward(request));
  }

  /** Sets a new password with the token from the mail, and ends all sessions. */
  @Post('reset-password')
  @HttpCode(200)
  @Public()
  @Limited('auth')
  @ApiOkResponse({ type: StatusResponse })
  @Problems(InvalidToken, WeakPassword, UntrustedOrigin)
  async resetPassword(@FromRequest() request: AuthRequest, @Res() response: Response, @Body() body: ResetPasswordRequest): Promise<void> {
    sendAuthAnswer(response, await this.auth.resetPassword(request, body));
  }

  /** Changes your password, ends all sessions, and returns a new one. */
  @Post('change-password')
  @HttpCode(200)
  @SignedIn()
  @Limited('auth')
  @ApiHeader({
    name: 'Origin',
    required: false,
    description: 'Required with a cookie.',
    schema: { type: 'string', example: 'https://app.example.com' },
  })
  @ApiOkResponse({ type: ChangePasswordResponse, headers: TOKEN_HEADER })
  @Problems(WrongPassword, NoPassword, WeakPassword, ManagedByClerk)
  async changePassword(
    @CurrentUser() caller: UserPrincipal,
    @FromRequest() request: AuthRequest,
    @Res() response: Response,
    @Body() body: ChangePasswordRequest,
  ): Promise<void> {
    sendAuthAnswer(response, await this.auth.changePassword(caller, request, body));
  }

  /** Sends a link to your new email. The email changes when you open the link, and all other sessions end. Signing out before cancels the link. */
  @Post('change-email')
  @HttpCode(200)
  @SignedIn()
  @Limited('auth', 'mail')
  @Problems(WrongPassword, ManagedByClerk, UntrustedRedirect)
  async changeEmail(
    @CurrentUser() caller: UserPrincipal,
    @FromRequest() request: AuthRequest,
    @Body() body: ChangeEmailRequest,
  ): Promise<StatusResponse> {
    await this.emailChanges.request(caller, body, request);
    return { status: true };
  }
}

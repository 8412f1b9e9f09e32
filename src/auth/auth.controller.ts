import { Body, Controller, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiCookieAuth, ApiHeader, ApiOkResponse, ApiParam, ApiResponse } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { Limited, Public, SignedIn } from '../access/access.decorators.js';
import { AmbiguousCredentials, InvalidCredentials, UntrustedOrigin, UntrustedRedirect, UserSuspended } from '../access/access.errors.js';
import { Caller, type Principal } from '../access/principal.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { ManagedByClerk } from '../platform/problems/problems.errors.js';
import { EmailTaken } from '../users/users.errors.js';
import {
  ChangeEmailRequest,
  ChangePasswordRequest,
  ChangePasswordResponse,
  LinkResponse,
  PasswordResetMailRequest,
  ResetPasswordPageQuery,
  ResetPasswordRequest,
  SignInErrorQuery,
  SignInRequest,
  SignInResponse,
  SignOutResponse,
  SignUpRequest,
  SignUpResponse,
  SocialSignInRequest,
  SocialSignInResponse,
  StatusResponse,
  VerificationMailRequest,
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
import { EmailChanges } from './emails/email-changes.service.js';
import { LinkVisitors } from './links/link-visitors.service.js';

/** Where an answer that signs somebody in carries the token, too. */
const TOKEN_HEADER = { 'set-auth-token': { $ref: '#/components/headers/set-auth-token' } };

/** Parts of a path that go on to Better Auth; `forwardedPath` holds them to it. */
const PLAIN_WORD = { type: 'string', pattern: '^[A-Za-z0-9_-]{1,200}$' };

/** The door: what Better Auth does, one route each, so that nothing else of it can be reached. */
@Controller('v1/auth')
export class AuthController {
  constructor(
    private readonly auth: AuthService,
    private readonly emailChanges: EmailChanges,
    private readonly visitors: LinkVisitors,
  ) {}

  /** Signs up with email and password, and signs in. */
  @Post('sign-up/email')
  @HttpCode(200)
  @Public()
  @Limited('auth')
  @ApiOkResponse({ type: SignUpResponse, headers: TOKEN_HEADER })
  @Problems(EmailTaken, WeakPassword, UntrustedOrigin, UntrustedRedirect)
  async signUp(@Req() request: Request, @Res() response: Response, @Body() body: SignUpRequest): Promise<void> {
    await this.auth.signUp(request, response, body);
  }

  /** Signs in with email and password. */
  @Post('sign-in/email')
  @HttpCode(200)
  @Public()
  @Limited('auth')
  @ApiOkResponse({ type: SignInResponse, headers: TOKEN_HEADER })
  @Problems(WrongCredentials, UserSuspended, UntrustedOrigin, UntrustedRedirect)
  async signIn(@Req() request: Request, @Res() response: Response, @Body() body: SignInRequest): Promise<void> {
    await this.auth.signInWithPassword(request, response, body);
  }

  /** Starts signing in with Google or GitHub. */
  @Post('sign-in/social')
  @HttpCode(200)
  @Public()
  @Limited('auth')
  @ApiOkResponse({ type: SocialSignInResponse, headers: TOKEN_HEADER })
  @Problems(ProviderNotFound, ProviderSignInFailed, InvalidToken, UserSuspended, UntrustedOrigin, UntrustedRedirect)
  async signInWithProvider(@Req() request: Request, @Res() response: Response, @Body() body: SocialSignInRequest): Promise<void> {
    await this.auth.forward(request, response, body);
  }

  /** Where a provider sends the browser back to. */
  @Get('callback/:provider')
  @Public()
  @Limited('auth')
  @ApiParam({ name: 'provider', description: 'Which provider.', schema: { ...PLAIN_WORD, example: 'google' } })
  @ApiResponse({ status: 302, description: 'To the `callbackURL`, signed in; or to the `errorCallbackURL` with `?error=`.' })
  async finishProviderSignIn(@Req() request: Request, @Res() response: Response, @Param('provider') _provider: string): Promise<void> {
    await this.auth.forward(request, response);
  }

  /** Where a browser ends up when signing in with a provider failed and no page was named for that. */
  @Get('error')
  @Public()
  @Limited('auth')
  @HttpCode(400)
  @Problems(ProviderSignInFailed)
  showSignInError(@Query() { error }: SignInErrorQuery): never {
    throw new ProviderSignInFailed({
      detail: `Signing in with the provider did not work: ${(error ?? 'unknown').replaceAll(/[^\w ]/g, '').slice(0, 60)}.`,
    });
  }

  /** Starts linking Google or GitHub to your user. */
  @Post('link-social')
  @HttpCode(200)
  @SignedIn()
  @ApiOkResponse({ type: LinkResponse })
  @Problems(ProviderNotFound, ProviderSignInFailed, InvalidToken, ManagedByClerk, UntrustedRedirect)
  async linkProvider(
    @Caller() caller: Principal,
    @Req() request: Request,
    @Res() response: Response,
    @Body() body: SocialSignInRequest,
  ): Promise<void> {
    await this.auth.forwardForCaller(caller, request, response, body);
  }

  /** Ends the session that asks. It works with a token or cookie that is no longer good, too. */
  @Post('sign-out')
  @HttpCode(200)
  @Public()
  @Limited('auth')
  @ApiBearerAuth('session')
  @ApiCookieAuth('cookie')
  @ApiOkResponse({ type: SignOutResponse })
  @Problems(AmbiguousCredentials, InvalidCredentials, UntrustedOrigin, ManagedByClerk)
  async signOut(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.auth.signOut(request, response);
  }

  /** Sends the verification mail again. The answer is the same whether there is such a user or not. In the session that asks, the link acts when it is opened. */
  @Post('send-verification-email')
  @HttpCode(200)
  @Public()
  @Limited('auth', 'mail')
  @ApiBearerAuth('session')
  @ApiCookieAuth('cookie')
  @Problems(UntrustedRedirect)
  async sendVerificationEmail(@Req() request: Request, @Body() body: VerificationMailRequest): Promise<StatusResponse> {
    await this.auth.requestVerification(body, await this.visitors.read(request));
    return { status: true };
  }

  /** Sends a mail to choose a new password. The answer is the same whether there is such a user or not. */
  @Post('request-password-reset')
  @HttpCode(200)
  @Public()
  @Limited('auth', 'mail')
  @Problems(UntrustedRedirect)
  async requestPasswordReset(@Req() request: Request, @Body() body: PasswordResetMailRequest): Promise<StatusResponse> {
    await this.auth.requestPasswordReset(body, request);
    return { status: true };
  }

  /** The link in the mail: sends the browser on to your page. It gets the token as `?token=`. Opening it changes nothing. */
  @Get('reset-password/:token')
  @Public()
  @Limited('auth')
  @ApiParam({ name: 'token', description: 'From the mail.', schema: { ...PLAIN_WORD, example: 'h5Jt0cZ1RkqYv8mWn3Xb7LpA' } })
  @ApiResponse({ status: 302, description: 'To your page, with `?token=`, or `?error=` if it did not work.' })
  @Problems(UntrustedRedirect)
  async openPasswordReset(
    @Req() request: Request,
    @Res() response: Response,
    @Param('token') _token: string,
    @Query() _query: ResetPasswordPageQuery,
  ): Promise<void> {
    await this.auth.forward(request, response);
  }

  /** Sets a new password with the token from the mail. All sessions end. */
  @Post('reset-password')
  @HttpCode(200)
  @Public()
  @Limited('auth')
  @ApiOkResponse({ type: StatusResponse })
  @Problems(InvalidToken, WeakPassword, UntrustedOrigin)
  async resetPassword(@Req() request: Request, @Res() response: Response, @Body() body: ResetPasswordRequest): Promise<void> {
    await this.auth.resetPassword(request, response, body);
  }

  /** Changes your password. All sessions end; the answer carries a new one. */
  @Post('change-password')
  @HttpCode(200)
  @SignedIn()
  @Limited('auth')
  @ApiHeader({
    name: 'Origin',
    required: false,
    description: 'Needed with a cookie.',
    schema: { type: 'string', example: 'https://app.example.com' },
  })
  @ApiOkResponse({ type: ChangePasswordResponse, headers: TOKEN_HEADER })
  @Problems(WrongPassword, NoPassword, WeakPassword, ManagedByClerk)
  async changePassword(
    @Caller() caller: Principal,
    @Req() request: Request,
    @Res() response: Response,
    @Body() body: ChangePasswordRequest,
  ): Promise<void> {
    await this.auth.changePassword(caller, request, response, body);
  }

  /** Sends a link to your new email. Only following it, while you stay signed in here, changes anything; all other sessions end then. */
  @Post('change-email')
  @HttpCode(200)
  @SignedIn()
  @Limited('auth', 'mail')
  @Problems(WrongPassword, ManagedByClerk, UntrustedRedirect)
  async changeEmail(@Caller() caller: Principal, @Req() request: Request, @Body() body: ChangeEmailRequest): Promise<StatusResponse> {
    await this.emailChanges.request(caller, body, request);
    return { status: true };
  }
}

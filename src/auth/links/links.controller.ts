import { applyDecorators, Body, Controller, Get, HttpCode, Post, Query, Req, Res, UseFilters } from '@nestjs/common';
import {
  ApiBearerAuth,
  ApiConsumes,
  ApiCookieAuth,
  ApiExtraModels,
  ApiOkResponse,
  ApiResponse,
  ApiTags,
  getSchemaPath,
} from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { Limited, Public } from '../../access/access.decorators.js';
import { UntrustedRedirect, UserSuspended } from '../../access/access.errors.js';
import { Problems } from '../../platform/problems/problems.decorators.js';
import { EmailTaken } from '../../users/users.errors.js';
import { StatusResponse } from '../auth.dto.js';
import { EmailAlreadyVerified, InvalidToken, LinkProofRequired, WrongPassword } from '../auth.errors.js';
import { readAuthRequest } from '../better-auth/auth-request.js';
import { EmailChanges } from '../emails/email-changes.service.js';
import { EmailVerifications } from '../emails/email-verifications.service.js';
import { ConfirmEmailQuery, ConfirmEmailRequest, RejectSignUpRequest, VerifyEmailQuery, VerifyEmailRequest } from '../emails/emails.dto.js';
import { sendLinkAnswer } from './link-answers.js';
import { LinkPageFilter } from './link-page.filter.js';
import { LinkVisitors } from './link-visitors.service.js';

const OK = {
  description: 'Done. A browser gets a page.',
  content: {
    'application/json': { schema: { $ref: getSchemaPath(StatusResponse) } },
    'text/html': { schema: { type: 'string', example: '<!doctype html>' } },
  },
};

/** Everyone may open a link in a mail. The session or the password decides whether it acts. */
const MailLink = (): MethodDecorator =>
  applyDecorators(Public(), Limited('auth'), ApiBearerAuth('session'), ApiCookieAuth('cookie'), ApiExtraModels(StatusResponse));

/** Takes the form of our page, or the same fields as JSON. */
const Confirms = (): MethodDecorator =>
  applyDecorators(MailLink(), ApiConsumes('application/json', 'application/x-www-form-urlencoded'), ApiOkResponse(OK));

/** The links in mails, and their pages (docs/mail-links.md). */
@ApiTags('Auth')
@Controller('v1/auth')
@UseFilters(LinkPageFilter)
export class MailLinksController {
  constructor(
    private readonly visitors: LinkVisitors,
    private readonly verifications: EmailVerifications,
    private readonly emailChanges: EmailChanges,
  ) {}

  /** Opens the link that verifies an email. In the session that requested it, this is enough. Other browsers get a page to confirm. */
  @Get('verify-email')
  @MailLink()
  @ApiOkResponse({ ...OK, description: 'Done, or a page to confirm.' })
  @ApiResponse({ status: 302, description: 'Redirects to the `callbackURL`, with `?error=` for an invalid link.' })
  @Problems(InvalidToken, UntrustedRedirect, UserSuspended)
  async verifyEmail(@Req() request: Request, @Res() response: Response, @Query() query: VerifyEmailQuery): Promise<void> {
    sendLinkAnswer(request, response, await this.verifications.open(query, await this.visitors.read(readAuthRequest(request))));
  }

  /** Verifies your email, in the session that requested the link or with your password. */
  @Post('verify-email')
  @HttpCode(200)
  @Confirms()
  @Problems(InvalidToken, LinkProofRequired, WrongPassword, UserSuspended, UntrustedRedirect)
  async submitEmailVerification(@Req() request: Request, @Res() response: Response, @Body() body: VerifyEmailRequest): Promise<void> {
    sendLinkAnswer(request, response, await this.verifications.confirm(body, await this.visitors.read(readAuthRequest(request))));
  }

  /** Removes an account that someone else created with your email and that was never verified. */
  @Post('verify-email/reject')
  @HttpCode(200)
  @Confirms()
  @Problems(InvalidToken, EmailAlreadyVerified)
  async rejectSignUp(@Req() request: Request, @Res() response: Response, @Body() body: RejectSignUpRequest): Promise<void> {
    sendLinkAnswer(request, response, await this.verifications.reject(body, await this.visitors.read(readAuthRequest(request))));
  }

  /** Opens the link in the mail to your new email. In the session that requested it, this is enough. Other browsers get a page to confirm. */
  @Get('change-email/confirm')
  @MailLink()
  @ApiOkResponse({ ...OK, description: 'Done, or a page to confirm.' })
  @ApiResponse({ status: 302, description: 'Redirects to the `callbackURL` of the request.' })
  @Problems(InvalidToken, EmailTaken, UserSuspended)
  async confirmEmailChange(@Req() request: Request, @Res() response: Response, @Query() { token }: ConfirmEmailQuery): Promise<void> {
    sendLinkAnswer(request, response, await this.emailChanges.open(token, await this.visitors.read(readAuthRequest(request))));
  }

  /** Changes your email, in the session that requested it or with your password. All other sessions end. */
  @Post('change-email/confirm')
  @HttpCode(200)
  @Confirms()
  @Problems(InvalidToken, LinkProofRequired, WrongPassword, EmailTaken, UserSuspended)
  async submitEmailChange(@Req() request: Request, @Res() response: Response, @Body() body: ConfirmEmailRequest): Promise<void> {
    sendLinkAnswer(request, response, await this.emailChanges.confirm(body, await this.visitors.read(readAuthRequest(request))));
  }
}

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
import {
  ConfirmEmailQuery,
  ConfirmEmailRequest,
  RejectSignUpRequest,
  StatusResponse,
  VerifyEmailQuery,
  VerifyEmailRequest,
} from '../auth.dto.js';
import { EmailAlreadyVerified, InvalidToken, LinkProofRequired, WrongPassword } from '../auth.errors.js';
import { EmailChanges } from '../emails/email-changes.service.js';
import { EmailVerifications } from '../emails/email-verifications.service.js';
import { sendLinkAnswer } from './link-answers.js';
import { LinkPageFilter } from './link-page.filter.js';
import { LinkVisitors } from './link-visitors.service.js';

const OK = {
  description: 'Done; for a browser as a page.',
  content: {
    'application/json': { schema: { $ref: getSchemaPath(StatusResponse) } },
    'text/html': { schema: { type: 'string', example: '<!doctype html>' } },
  },
};

/** A link in a mail: everybody may open it, a session or the password decides what it does. */
const MailLink = (): MethodDecorator =>
  applyDecorators(Public(), Limited('auth'), ApiBearerAuth('session'), ApiCookieAuth('cookie'), ApiExtraModels(StatusResponse));

/** The form on our page, or the same as JSON. */
const Confirms = (): MethodDecorator =>
  applyDecorators(MailLink(), ApiConsumes('application/json', 'application/x-www-form-urlencoded'), ApiOkResponse(OK));

/** The links in mails and the pages behind them (docs/mail-links.md). */
@ApiTags('Auth')
@Controller('v1/auth')
@UseFilters(LinkPageFilter)
export class MailLinksController {
  constructor(
    private readonly visitors: LinkVisitors,
    private readonly verifications: EmailVerifications,
    private readonly emailChanges: EmailChanges,
  ) {}

  /** Opens the link that proves an email. It acts in the session that asked for it; everybody else gets a page with a form. */
  @Get('verify-email')
  @MailLink()
  @ApiOkResponse({ ...OK, description: 'Done; or a page with a form to confirm.' })
  @ApiResponse({ status: 302, description: 'To the `callbackURL`, with `?error=` if it did not work.' })
  @Problems(InvalidToken, UntrustedRedirect, UserSuspended)
  async verifyEmail(@Req() request: Request, @Res() response: Response, @Query() query: VerifyEmailQuery): Promise<void> {
    sendLinkAnswer(request, response, await this.verifications.open(query, await this.visitors.read(request)));
  }

  /** Proves that an email is yours, in the session that asked for the link or with your password. */
  @Post('verify-email')
  @HttpCode(200)
  @Confirms()
  @Problems(InvalidToken, LinkProofRequired, WrongPassword, UserSuspended, UntrustedRedirect)
  async submitEmailVerification(@Req() request: Request, @Res() response: Response, @Body() body: VerifyEmailRequest): Promise<void> {
    sendLinkAnswer(request, response, await this.verifications.confirm(body, await this.visitors.read(request)));
  }

  /** Removes an account that somebody else made with your email and never proved: "I did not sign up". */
  @Post('verify-email/reject')
  @HttpCode(200)
  @Confirms()
  @Problems(InvalidToken, EmailAlreadyVerified)
  async rejectSignUp(@Req() request: Request, @Res() response: Response, @Body() body: RejectSignUpRequest): Promise<void> {
    sendLinkAnswer(request, response, await this.verifications.reject(body, await this.visitors.read(request)));
  }

  /** Opens the link in the mail to your new email. It acts in the session that asked for it; everybody else gets a page with a form. */
  @Get('change-email/confirm')
  @MailLink()
  @ApiOkResponse({ ...OK, description: 'Done; or a page with a form to confirm.' })
  @ApiResponse({ status: 302, description: 'To the `callbackURL` of the request.' })
  @Problems(InvalidToken, EmailTaken, UserSuspended)
  async confirmEmailChange(@Req() request: Request, @Res() response: Response, @Query() { token }: ConfirmEmailQuery): Promise<void> {
    sendLinkAnswer(request, response, await this.emailChanges.open(token, await this.visitors.read(request)));
  }

  /** Makes your new email the one of your account, in the session that asked for it or with your password. All other sessions end. */
  @Post('change-email/confirm')
  @HttpCode(200)
  @Confirms()
  @Problems(InvalidToken, LinkProofRequired, WrongPassword, EmailTaken, UserSuspended)
  async submitEmailChange(@Req() request: Request, @Res() response: Response, @Body() body: ConfirmEmailRequest): Promise<void> {
    sendLinkAnswer(request, response, await this.emailChanges.confirm(body, await this.visitors.read(request)));
  }
}

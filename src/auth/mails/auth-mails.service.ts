import { Injectable } from '@nestjs/common';
import type { Queryable } from '../../platform/database/database.js';
import { MailService } from '../../mail/mail.service.js';
import { quoteUserText } from '../../platform/text/user-text.js';

interface Recipient {
  email: string;
  name: string;
  emailVerified: boolean;
}

/** The mails around signing in. */
@Injectable()
export class AuthMails {
  constructor(private readonly mail: MailService) {}

  async sendVerification(email: string, url: string, db: Queryable): Promise<void> {
    await this.mail.send(
      {
        kind: 'verification',
        page: pageOf(url),
        to: email,
        subject: 'Confirm your email address',
        text: `Hello,\n\nconfirm that this address is yours:\n\n${url}\n\nThe link works for an hour. If you did not sign up, open it and choose "I did not sign up", or ignore this mail.\n`,
      },
      db,
    );
  }

  async sendPasswordReset(recipient: Recipient, { url, token, isKnown }: { url: string; token: string; isKnown?: boolean }): Promise<void> {
    const page = pageOf(url);
    const how = page
      ? `choose a new password here:\n\n${url}`
      : `send this token with your new password to POST /v1/auth/reset-password:\n\n${token}`;
    await this.mail.send({
      kind: 'password_reset',
      // A squatter's own network would count as known: it says nothing before the address is proved.
      isKnown: isKnown && recipient.emailVerified,
      page,
      to: recipient.email,
      subject: 'Reset your password',
      text: `${greeting(recipient)}\n\n${how}\n\nIt works once, for an hour. If you did not ask for it, ignore this mail: your password stays as it is.\n`,
    });
  }

  /**
   * Counts the mail when it is asked for.
   *
   * @throws {RateLimited}
   */
  async reserveEmailChange(email: string, userId: string, db: Queryable): Promise<void> {
    await this.mail.reserve({ kind: 'email_change', to: email, sender: { userId } }, db);
  }

  async sendEmailChange(email: string, url: string, db: Queryable): Promise<void> {
    await this.mail.send(
      {
        kind: 'email_change',
        isReserved: true,
        to: email,
        subject: 'Confirm your new email address',
        text: `Hello,\n\nconfirm that this address is yours, and it becomes the one of your account:\n\n${url}\n\nThe link works once, for an hour. If you did not ask for it, ignore this mail.\n`,
      },
      db,
    );
  }
}

/** Where a link leads in the end. */
function pageOf(url: string): string | undefined {
  return new URL(url).searchParams.get('callbackURL') ?? undefined;
}

/** A stranger may have chosen the name while the address is unproved. */
function greeting({ name, emailVerified }: Recipient): string {
  const quoted = emailVerified ? quoteUserText(name) : undefined;
  return quoted === undefined ? 'Hello,' : `Hello ${quoted},`;
}

import { Injectable } from '@nestjs/common';
import type { Queryable } from '../../platform/database/database.js';
import { MailService } from '../../mail/mail.service.js';
import { quoteUserText } from '../../platform/text/user-text.js';

interface Recipient {
  email: string;
  name: string;
  emailVerified: boolean;
}

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
        text: `Hello,\n\nPlease confirm that this email address is yours:\n\n${url}\n\nThe link works for one hour. If you did not sign up, ignore this mail, or open the link and choose "I did not sign up".\n`,
      },
      db,
    );
  }

  async sendPasswordReset(recipient: Recipient, { url, token, isKnown }: { url: string; token: string; isKnown?: boolean }): Promise<void> {
    const page = pageOf(url);
    const how = page
      ? `Choose a new password here:\n\n${url}`
      : `Send this token with your new password to POST /v1/auth/reset-password:\n\n${token}`;
    await this.mail.send({
      kind: 'password_reset',
      // Before the address is verified, the known network may be that of a stranger.
      isKnown: isKnown && recipient.emailVerified,
      page,
      to: recipient.email,
      subject: 'Reset your password',
      text: `${greeting(recipient)}\n\n${how}\n\nIt works once and expires after one hour. If you did not request it, ignore this mail. Your password stays unchanged.\n`,
    });
  }

  /** Counts the mail when it is requested. @throws {RateLimited} */
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
        text: `Hello,\n\nConfirm that this address is yours, and it becomes the address of your account:\n\n${url}\n\nThe link works once and expires after one hour. If you did not request it, ignore this mail.\n`,
      },
      db,
    );
  }
}

function pageOf(url: string): string | undefined {
  return new URL(url).searchParams.get('callbackURL') ?? undefined;
}

/** Before the address is verified, a stranger may have chosen the name. */
function greeting({ name, emailVerified }: Recipient): string {
  const quoted = emailVerified ? quoteUserText(name) : undefined;
  return quoted === undefined ? 'Hello,' : `Hello ${quoted},`;
}

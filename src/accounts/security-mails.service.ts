import { Injectable } from '@nestjs/common';
import { eq } from 'drizzle-orm';
import type { Queryable } from '../platform/database/database.js';
import { MailService } from '../mail/mail.service.js';
import { users } from '../users/users.table.js';

type Notice = Omit<Parameters<MailService['send']>[0], 'to' | 'sender'>;

const PROVIDERS: Record<string, string> = { credential: 'a password', google: 'Google', github: 'GitHub' };

/** These mails have limits of their own, so that a stranger cannot suppress them (docs/decisions/0051). */
@Injectable()
export class SecurityMails {
  constructor(private readonly mail: MailService) {}

  async sendPasswordChanged(userId: string, db: Queryable): Promise<void> {
    const text = 'The password of your account was changed, and all other sessions have ended.';
    await this.notify(userId, { kind: 'password_changed', subject: 'Your password was changed', text }, db);
  }

  async sendMethodLinked(userId: string, provider: string, db: Queryable): Promise<void> {
    const text = `You can now sign in to your account with ${PROVIDERS[provider] ?? provider}.`;
    await this.notify(userId, { kind: 'sign_in_method_added', subject: 'A new way to sign in was added', text }, db);
  }

  async sendMethodRemoved(userId: string, provider: string, db: Queryable): Promise<void> {
    const text = `You can no longer sign in to your account with ${PROVIDERS[provider] ?? provider}.`;
    await this.notify(userId, { kind: 'sign_in_method_removed', subject: 'A way to sign in was removed', text }, db);
  }

  async sendEmailChanged(oldEmail: string, db: Queryable): Promise<void> {
    const text = 'The email address of your account was changed.';
    await this.send(oldEmail, { kind: 'email_changed', subject: 'Your email address was changed', text }, db);
  }

  private async notify(userId: string, notice: Notice, db: Queryable): Promise<void> {
    const [user] = await db.select({ email: users.email }).from(users).where(eq(users.id, userId));
    if (user?.email != null) await this.send(user.email, notice, db);
  }

  private async send(to: string, { text, ...notice }: Notice, db: Queryable): Promise<void> {
    await this.mail.send({ ...notice, to, text: `Hello,\n\n${text} If this was not you, contact us at once.\n` }, db);
  }
}

import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { createTransport, type Transporter } from 'nodemailer';
import { Config } from '../config/config.js';
import type { Queryable } from '../database/database.js';
import { OutboxService } from '../outbox/outbox.service.js';

export interface Mail {
  to: string;
  subject: string;
  text: string;
}

const KIND = 'mail';
const TIMEOUT_MS = 20_000;

/** Sends mail through the outbox, so that a mail server that is away delays it and loses nothing. */
@Injectable()
export class MailService implements OnModuleInit {
  private readonly logger = new Logger(MailService.name);
  private readonly transport?: Transporter;

  constructor(
    private readonly outbox: OutboxService,
    private readonly config: Config,
  ) {
    if (config.smtpUrl === undefined) return;
    this.transport = createTransport({
      url: config.smtpUrl,
      connectionTimeout: TIMEOUT_MS,
      greetingTimeout: TIMEOUT_MS,
      socketTimeout: TIMEOUT_MS,
    });
  }

  onModuleInit(): void {
    this.outbox.handle(KIND, (payload, { id }) => this.deliver(payload as Mail, id));
  }

  /** Pass the transaction of the cause: no mail leaves for what was rolled back. */
  async send(mail: Mail, db?: Queryable): Promise<void> {
    await this.outbox.enqueue(KIND, mail, db);
  }

  private async deliver(mail: Mail, id: string): Promise<void> {
    if (this.transport !== undefined) {
      // One message id for all attempts: mail clients fold a repetition away.
      const { to, subject, text } = mail;
      await this.transport.sendMail({
        // As an object: as text it would be read as a list of recipients.
        to: { name: '', address: to },
        subject,
        text,
        from: this.config.mailFrom,
        messageId: `<${id}@tenantry>`,
      });
      return;
    }
    if (this.config.isProduction) throw new Error('SMTP_URL is not set');
    this.logger.log(`SMTP_URL is not set, so this mail is only shown here.\nTo: ${mail.to}\nSubject: ${mail.subject}\n\n${mail.text}`);
  }
}

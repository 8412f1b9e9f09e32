import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { createTransport, type Transporter } from 'nodemailer';
import { Counter } from 'prom-client';
import { RateLimited } from '../access/access.errors.js';
import { Metrics } from '../platform/metrics/metrics.service.js';
import { Config } from '../platform/config/config.js';
import type { Queryable } from '../platform/database/database.js';
import { OutboxService } from '../outbox/outbox.service.js';
import { MailLimits } from './mail-limits.service.js';
import { type Mail, MAIL_KINDS, type MailKind } from './mail.js';

type Content = Pick<Mail, 'to' | 'subject' | 'text'>;

const KIND = 'mail';
const TIMEOUT_MS = 20_000;

/** Sends mail through the outbox, so that an unavailable mail server delays it and loses none. */
@Injectable()
export class MailService implements OnModuleInit {
  private readonly logger = new Logger(MailService.name);
  private readonly transport?: Transporter;
  private readonly counter: Counter<'kind' | 'outcome'>;

  constructor(
    private readonly outbox: OutboxService,
    private readonly limits: MailLimits,
    private readonly config: Config,
    metrics: Metrics,
  ) {
    this.counter = new Counter({
      name: 'tenantry_mails_total',
      help: 'Mails by kind and outcome: queued, refused with an error, or dropped because a limit was reached',
      labelNames: ['kind', 'outcome'],
      registers: [metrics.registry],
    });
    if (config.smtpUrl === undefined) return;
    this.transport = createTransport({
      url: config.smtpUrl,
      connectionTimeout: TIMEOUT_MS,
      greetingTimeout: TIMEOUT_MS,
      socketTimeout: TIMEOUT_MS,
    });
  }

  onModuleInit(): void {
    this.outbox.handle(KIND, (payload, { id }) => this.deliver(payload as Content, id));
  }

  /**
   * Pass the transaction of the cause, so that a rollback neither sends nor counts the mail.
   * @throws {RateLimited} for a kind that tells the sender about its limits; other kinds are dropped
   */
  async send(mail: Mail, db?: Queryable): Promise<void> {
    const { kind, to, subject, text } = mail;
    const wait = mail.isReserved === true ? undefined : await this.limits.count(mail, db);
    if (wait === undefined) {
      this.counter.inc({ kind, outcome: 'queued' });
      await this.outbox.enqueue(KIND, { to, subject, text } satisfies Content, db);
      return;
    }
    if (MAIL_KINDS[kind] === 'refused') throw this.refuse(kind, wait);
    this.counter.inc({ kind, outcome: 'dropped' });
    this.logger.warn({ kind, retryAfterSeconds: wait }, 'A mail was dropped because its limit is reached');
  }

  /** Counts a mail now that is sent later. @throws {RateLimited} */
  async reserve(mail: Pick<Mail, 'kind' | 'to' | 'sender'>, db: Queryable): Promise<void> {
    const wait = await this.limits.count(mail, db);
    if (wait !== undefined) throw this.refuse(mail.kind, wait);
  }

  private refuse(kind: MailKind, waitSeconds: number): RateLimited {
    this.counter.inc({ kind, outcome: 'refused' });
    return new RateLimited({
      detail: 'Too many mails to this address, or from you or this organization. Wait for the number of seconds in Retry-After.',
      headers: { 'retry-after': String(waitSeconds) },
    });
  }

  private async deliver(mail: Content, id: string): Promise<void> {
    if (this.transport !== undefined) {
      // One message id for all attempts, so that mail clients recognise a repetition.
      const { to, subject, text } = mail;
      await this.transport.sendMail({
        // An object, because text is parsed as a list of recipients.
        to: { name: '', address: to },
        subject,
        text,
        from: this.config.mailFrom,
        messageId: `<${id}@tenantry>`,
      });
      return;
    }
    if (this.config.isProduction) throw new Error('SMTP_URL is not set');
    this.logger.log(`SMTP_URL is not set, so this mail is only logged.\nTo: ${mail.to}\nSubject: ${mail.subject}\n\n${mail.text}`);
  }
}

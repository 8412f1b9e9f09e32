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

/** Counts mail, and sends it through the outbox: a mail server that is unavailable delays it and loses nothing. */
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
      help: 'Mails by kind: queued, refused (the caller is told), or dropped because a limit was reached',
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
   * Pass the transaction of the cause: no mail leaves, and none is counted, for what was rolled back.
   *
   * @throws {RateLimited} for a kind whose sender may learn that a limit was reached; others are dropped
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
    this.logger.warn({ kind, retryAfterSeconds: wait }, 'A mail was dropped: its limit is reached');
  }

  /**
   * Counts a mail that is written later, in the transaction of its cause.
   *
   * @throws {RateLimited}
   */
  async reserve(mail: Pick<Mail, 'kind' | 'to' | 'sender'>, db: Queryable): Promise<void> {
    const wait = await this.limits.count(mail, db);
    if (wait !== undefined) throw this.refuse(mail.kind, wait);
  }

  private refuse(kind: MailKind, waitSeconds: number): RateLimited {
    this.counter.inc({ kind, outcome: 'refused' });
    return new RateLimited({
      detail: 'Too many mails to this address, or by you or this organization. Wait for the time in Retry-After.',
      headers: { 'retry-after': String(waitSeconds) },
    });
  }

  private async deliver(mail: Content, id: string): Promise<void> {
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

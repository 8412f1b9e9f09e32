import { hash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { Bucket } from '../access/rate-limits/buckets.js';
import { hashEmail } from '../access/rate-limits/hashed-email.js';
import { RateLimiter } from '../access/rate-limits/rate-limiter.service.js';
import { Config } from '../platform/config/config.js';
import type { RateLimit } from '../platform/config/value-types.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { type Mail, MAIL_KINDS } from './mail.js';

/** For one address, all senders and all pages together. One network may ask for a tenth of it. */
const ADDRESS_FACTOR = 10;
/** For all tagged addresses of a mailbox (`ada+anything@…`) together: anybody can make up as many as they want. */
const TAGGED_FACTOR = 4;
/** Notices have an allowance of their own, so that nobody can suppress one by exhausting another. */
const NOTICE_FACTOR = 4;

type Counted = Omit<Mail, 'subject' | 'text'>;

/** Bounds mails by recipient, and by the user and the organization that cause them (docs/mail.md). */
@Injectable()
export class MailLimits {
  constructor(
    private readonly limiter: RateLimiter,
    private readonly config: Config,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /**
   * Counts a mail, in the transaction of its cause if there is one.
   *
   * @returns undefined, or how many seconds to wait when a bound is reached
   */
  async count(mail: Counted, db?: Queryable): Promise<number | undefined> {
    if (db === undefined) return this.db.transaction((tx) => this.count(mail, tx));
    for (const bucket of this.boundsOf(mail)) {
      const wait = await this.limiter.consumeIn(db, bucket);
      if (wait !== undefined) return wait;
    }
    return undefined;
  }

  /**
   * Always in this order, in which transactions take the locks of the rows. Each kind has bounds of its own, and so
   * has each sender and each page: nobody uses up what somebody else needs.
   */
  private boundsOf(mail: Counted): Bucket[] {
    const { kind, to, isKnown = false, page = '', sender = {} } = mail;
    const { mailRateLimit: recipient, mailSenderRateLimit: bySender } = this.config;
    const address = hashEmail(to);
    const mailbox = mailboxOf(to);
    const everybody = { key: `mail:${kind}:everybody:${address}`, policy: times(recipient, ADDRESS_FACTOR) };
    const tagged = { key: `mail:${kind}:tagged:${hashEmail(mailbox)}`, policy: times(recipient, TAGGED_FACTOR) };
    const bounds: Bucket[] = [];
    if (MAIL_KINDS[kind] === 'notice') bounds.push({ key: `mail:${kind}:to:${address}`, policy: times(recipient, NOTICE_FACTOR) });
    else if (kind === 'invitation') {
      bounds.push({ key: `mail:${kind}:by:${sender.userId}:to:${address}`, policy: recipient });
      bounds.push({ key: `mail:${kind}:of:${sender.organizationId}:to:${address}`, policy: recipient });
      bounds.push(mailbox === to ? everybody : tagged);
    } else {
      bounds.push({
        key: `mail:${kind}:${isKnown ? 'known' : (sender.userId ?? 'anybody')}:${address}:${digestOf(page)}`,
        policy: recipient,
      });
      if (!isKnown) bounds.push(mailbox === to ? everybody : tagged);
    }
    if (sender.userId !== undefined) bounds.push({ key: `mail:by:${sender.userId}`, policy: bySender });
    if (sender.organizationId !== undefined) bounds.push({ key: `mail:of:${sender.organizationId}`, policy: bySender });
    return bounds;
  }
}

function times({ limit, windowSeconds }: RateLimit, factor: number): RateLimit {
  return { limit: limit * factor, windowSeconds };
}

/** Addresses of pages may be long, and keys stand in the database. */
function digestOf(page: string): string {
  return hash('sha256', page, 'base64url').slice(0, 12);
}

/** `ada@example.com` of `ada+invoices@example.com`. */
function mailboxOf(email: string): string {
  return email.replace(/\+[^@]*(?=@)/, '');
}

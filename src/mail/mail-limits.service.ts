import { hash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { LimitBucket } from '../access/rate-limits/buckets.js';
import { hashEmail } from '../access/rate-limits/hashed-email.js';
import { RateLimiter } from '../access/rate-limits/rate-limiter.service.js';
import { Config } from '../platform/config/config.js';
import type { RateLimit } from '../platform/config/value-types.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { type Mail, MAIL_KINDS } from './mail.js';

/** For one address, across all senders and pages. One network gets a tenth of it. */
const ADDRESS_FACTOR = 10;
/** For all tagged addresses of a mailbox (`ada+anything@…`) together, because anyone can invent them. */
const TAGGED_FACTOR = 4;
/** Notices have limits of their own, so that nobody can suppress one by exhausting another. */
const NOTICE_FACTOR = 4;

type Counted = Omit<Mail, 'subject' | 'text'>;

/** Limits mails by recipient, and by the user and organization that cause them (docs/mail.md). */
@Injectable()
export class MailLimits {
  constructor(
    private readonly limiter: RateLimiter,
    private readonly config: Config,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /** Counts a mail, in the transaction of its cause if there is one. @returns undefined, or the seconds to wait when a limit is reached */
  async count(mail: Counted, db?: Queryable): Promise<number | undefined> {
    if (db === undefined) return this.db.transaction((tx) => this.count(mail, tx));
    for (const bucket of this.bucketsOf(mail)) {
      const wait = await this.limiter.consumeIn(db, bucket);
      if (wait !== undefined) return wait;
    }
    return undefined;
  }

  /**
   * Returns the buckets in a fixed order, because transactions lock their rows in it. Each kind, sender and page has
   * buckets of its own, so that nobody can exhaust the limit of another.
   */
  private bucketsOf(mail: Counted): LimitBucket[] {
    const { kind, to, isKnown = false, page = '', sender = {} } = mail;
    const { mailRateLimit: recipient, mailSenderRateLimit: bySender } = this.config;
    const address = hashEmail(to);
    const mailbox = mailboxOf(to);
    const everybody = { key: `mail:${kind}:everybody:${address}`, policy: times(recipient, ADDRESS_FACTOR) };
    const tagged = { key: `mail:${kind}:tagged:${hashEmail(mailbox)}`, policy: times(recipient, TAGGED_FACTOR) };
    const buckets: LimitBucket[] = [];
    if (MAIL_KINDS[kind] === 'notice') buckets.push({ key: `mail:${kind}:to:${address}`, policy: times(recipient, NOTICE_FACTOR) });
    else if (kind === 'invitation') {
      buckets.push({ key: `mail:${kind}:by:${sender.userId}:to:${address}`, policy: recipient });
      buckets.push({ key: `mail:${kind}:of:${sender.organizationId}:to:${address}`, policy: recipient });
      buckets.push(mailbox === to ? everybody : tagged);
    } else {
      buckets.push({
        key: `mail:${kind}:${isKnown ? 'known' : (sender.userId ?? 'anybody')}:${address}:${digestOf(page)}`,
        policy: recipient,
      });
      if (!isKnown) buckets.push(mailbox === to ? everybody : tagged);
    }
    if (sender.userId !== undefined) buckets.push({ key: `mail:by:${sender.userId}`, policy: bySender });
    if (sender.organizationId !== undefined) buckets.push({ key: `mail:of:${sender.organizationId}`, policy: bySender });
    return buckets;
  }
}

function times({ limit, windowSeconds }: RateLimit, factor: number): RateLimit {
  return { limit: limit * factor, windowSeconds };
}

/** URLs may be long, and keys are stored. */
function digestOf(page: string): string {
  return hash('sha256', page, 'base64url').slice(0, 12);
}

/** Returns `ada@example.com` for `ada+invoices@example.com`. */
function mailboxOf(email: string): string {
  return email.replace(/\+[^@]*(?=@)/, '');
}

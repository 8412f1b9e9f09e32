import { Inject, Injectable } from '@nestjs/common';
import { type Bound, emailKey, RateLimiter } from '../access/rate-limiter.js';
import { Config, type RateLimit } from '../config/config.js';
import { DATABASE, type Database, type Queryable } from '../database/database.js';
import { type Mail, MAIL_KINDS } from './mail.js';

/** One mailbox may have many addresses (`ada+anything@…`): together they get this many times the mails of one. */
const MAILBOX_FACTOR = 10;
/** Notices have an allowance of their own, so that nobody can suppress one by exhausting another. */
const NOTICE_FACTOR = 4;

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
  async count(mail: Mail, db?: Queryable): Promise<number | undefined> {
    if (db === undefined) return this.db.transaction((tx) => this.count(mail, tx));
    for (const { key, policy } of this.boundsOf(mail)) {
      const wait = await this.limiter.spendIn(db, key, policy);
      if (wait !== undefined) return wait;
    }
    return undefined;
  }

  /** Always in this order, in which transactions take the locks of the rows. */
  private boundsOf({ kind, to, isKnown = false, sender = {} }: Mail): Bound[] {
    const { mailRateLimit: recipient, mailSenderRateLimit: bySender } = this.config;
    const isNotice = MAIL_KINDS[kind] === 'notice';
    const bounds: Bound[] = [
      { key: `mail:${kind}:${isKnown ? 'known' : 'to'}:${emailKey(to)}`, policy: times(recipient, isNotice ? NOTICE_FACTOR : 1) },
    ];
    if (!isNotice && !isKnown) bounds.push({ key: `mail:to:${emailKey(mailboxOf(to))}`, policy: times(recipient, MAILBOX_FACTOR) });
    if (sender.userId !== undefined) bounds.push({ key: `mail:by:${sender.userId}`, policy: bySender });
    if (sender.organizationId !== undefined) bounds.push({ key: `mail:of:${sender.organizationId}`, policy: bySender });
    return bounds;
  }
}

function times({ limit, windowSeconds }: RateLimit, factor: number): RateLimit {
  return { limit: limit * factor, windowSeconds };
}

/** `ada@example.com` of `ada+invoices@example.com`. */
function mailboxOf(email: string): string {
  return email.replace(/\+[^@]*(?=@)/, '');
}

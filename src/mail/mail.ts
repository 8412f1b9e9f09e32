/**
 * What happens to a mail that passes a bound. `refused`: the caller gets a 429. `dropped`: the one who
 * asked must not learn whether there is such a recipient. `notice`: dropped too, by a bound of its own.
 */
export const MAIL_KINDS = {
  invitation: 'refused',
  verification: 'dropped',
  password_reset: 'dropped',
  email_change: 'refused',
  email_changed: 'notice',
  password_changed: 'notice',
  sign_in_method_added: 'notice',
  sign_in_method_removed: 'notice',
  account_recovered: 'notice',
} as const;

export type MailKind = keyof typeof MAIL_KINDS;

export interface Mail {
  kind: MailKind;
  to: string;
  subject: string;
  text: string;
  /** Asked for by a device or network of the recipient: strangers cannot use up its allowance. */
  isKnown?: boolean;
  /** Where its link leads. Each page has its own allowance: a stranger who names another page does not use up this one. */
  page?: string;
  /** Counted already, by `MailService.reserve`. */
  isReserved?: boolean;
  /** Who causes a mail to somebody else. */
  sender?: { userId?: string; organizationId?: string };
}

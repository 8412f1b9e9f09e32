/**
 * What happens to a mail over its limit. `refused`: the caller gets a 429. `dropped`: without an error, because the
 * caller must not learn whether the recipient exists. `notice`: dropped by a limit of its own.
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
  /** Requested from a known device or network of the recipient, which has a limit of its own. */
  isKnown?: boolean;
  /** The page that the link leads to. Each page has its own limit. */
  page?: string;
  isReserved?: boolean;
  sender?: { userId?: string; organizationId?: string };
}

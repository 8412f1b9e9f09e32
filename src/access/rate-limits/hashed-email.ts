import { hash } from 'node:crypto';
import { normaliseEmail } from '../../platform/text/emails.js';

/** Keys of rate limits contain this instead of an address, so that the table holds no personal data. */
export function hashEmail(email: string): string {
  return hash('sha256', normaliseEmail(email), 'base64url');
}

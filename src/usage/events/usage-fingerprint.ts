import { hash } from 'node:crypto';

/** Version 2 covers the acting user. Version 1 had no version byte and was 16 bytes long. */
const VERSION = '02';
const DIGEST_LENGTH = 32;

/** Hexadecimal. */
export type Fingerprint = string;

export interface FingerprintedEvent {
  /** Everything that identifies the event except the acting user. */
  content: string;
  fingerprint: Fingerprint;
  actorUserId: string | null;
  /** The caller named another user. */
  needsMembershipCheck: boolean;
}

/** Covers the content and the acting user: a repetition must match both. */
export function fingerprintOf(content: string, actorUserId: string | null): Fingerprint {
  return VERSION + digestOf(content, actorUserId);
}

/** An id that a repair restored has an empty fingerprint and matches every event. */
export function isSameEvent(stored: Fingerprint, { content, fingerprint, actorUserId, needsMembershipCheck }: FingerprintedEvent): boolean {
  if (stored === '') return true;
  if (stored.length !== DIGEST_LENGTH) return stored === fingerprint;
  // Version 1 covered `userId` as it was sent, and callers may have left themselves out.
  const names = needsMembershipCheck ? [actorUserId] : [actorUserId, null];
  return names.some((userId) => stored === digestOf(content, userId));
}

/** The text must stay the same byte for byte: fingerprints are stored forever. */
function digestOf(content: string, userId: string | null): string {
  return hash('sha256', `[${userId === null ? 'null' : `"${userId}"`},${content}`, 'hex').slice(0, DIGEST_LENGTH);
}

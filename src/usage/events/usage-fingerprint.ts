import { hash } from 'node:crypto';

/** Version 2 covers the acting user. Version 1 had no version byte and was 16 bytes long. */
const VERSION = Buffer.of(2);
const LEGACY_LENGTH = 16;

export interface FingerprintedEvent {
  /** Everything that identifies the event except the acting user. */
  content: string;
  fingerprint: Buffer;
  actorUserId: string | null;
  /** The caller named another user. */
  needsMembershipCheck: boolean;
}

/** Covers the content and the acting user: a repetition must match both. */
export function fingerprintOf(content: string, actorUserId: string | null): Buffer {
  return Buffer.concat([VERSION, digestOf(content, actorUserId)]);
}

/** An id that a repair restored has an empty fingerprint and matches every event. */
export function isSameEvent(stored: Buffer, { content, fingerprint, actorUserId, needsMembershipCheck }: FingerprintedEvent): boolean {
  if (stored.length === 0) return true;
  if (stored.length !== LEGACY_LENGTH) return stored.equals(fingerprint);
  // Version 1 covered `userId` as it was sent, and callers may have left themselves out.
  const names = needsMembershipCheck ? [actorUserId] : [actorUserId, null];
  return names.some((userId) => stored.equals(digestOf(content, userId)));
}

/** The text must stay the same byte for byte: fingerprints are stored forever. */
function digestOf(content: string, userId: string | null): Buffer {
  return hash('sha256', `[${JSON.stringify(userId)},${content.slice(1)}`, 'buffer').subarray(0, LEGACY_LENGTH);
}

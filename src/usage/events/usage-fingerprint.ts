import { hash } from 'node:crypto';

/** Of fingerprints that cover who caused the event. Those before had no version and were 16 bytes long. */
const VERSION = Buffer.of(2);
const LEGACY_LENGTH = 16;

export interface FingerprintedEvent {
  /** All that counts but who caused it, as `contentOf` writes it. */
  content: string;
  fingerprint: Buffer;
  actorUserId: string | null;
  /** Whether the caller named somebody else. */
  needsMembershipCheck: boolean;
}

/** Two events with the same id are the same when their fingerprints are: their content, and who caused them. */
export function fingerprintOf(content: string, actorUserId: string | null): Buffer {
  return Buffer.concat([VERSION, digestOf(content, actorUserId)]);
}

/** Whether an event was stored before. An id that was restored has no fingerprint, and matches every event. */
export function isSameEvent(stored: Buffer, { content, fingerprint, actorUserId, needsMembershipCheck }: FingerprintedEvent): boolean {
  if (stored.length === 0) return true;
  if (stored.length !== LEGACY_LENGTH) return stored.equals(fingerprint);
  // It covered `userId` as it was sent: callers may have left themselves out.
  const names = needsMembershipCheck ? [actorUserId] : [actorUserId, null];
  return names.some((userId) => stored.equals(digestOf(content, userId)));
}

/** The text must stay the same byte for byte: fingerprints of it are stored for ever. */
function digestOf(content: string, userId: string | null): Buffer {
  return hash('sha256', `[${JSON.stringify(userId)},${content.slice(1)}`, 'buffer').subarray(0, LEGACY_LENGTH);
}

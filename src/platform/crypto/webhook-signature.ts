import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

const TOLERANCE_SECONDS = 300;

/** Bytes, or a key object, which is cheaper when it is used again. */
type SigningKey = KeyObject | Buffer;

/** HMAC-SHA256 over `id.timestamp.body`, as Standard Webhooks has it (github.com/standard-webhooks, spec/standard-webhooks.md). */
function digestOf(id: string, timestamp: string, body: Buffer, key: SigningKey): Buffer {
  return createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
}

export function signedHeaders(id: string, body: Buffer, key: SigningKey, now: Date): Record<string, string> {
  const timestamp = String(Math.floor(now.getTime() / 1000));
  const signature = `v1,${digestOf(id, timestamp, body, key).toString('base64')}`;
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature };
}

/**
 * Verifies bytes, where the published libraries read text: a signed body that is not JSON must get through.
 * @param keys also those of a rotation
 * @returns the message id; undefined for a message that is forged, changed, or more than five minutes from `now`
 */
export function verifiedMessageId(headers: IncomingHttpHeaders, body: Buffer, keys: SigningKey[], now: Date): string | undefined {
  const [id, timestamp, signature] = ['id', 'timestamp', 'signature'].map((name) => header(headers, name));
  if (id === undefined || id === '' || signature === undefined || timestamp === undefined || !/^\d{1,12}$/.test(timestamp))
    return undefined;
  if (Math.abs(Math.floor(now.getTime() / 1000) - Number(timestamp)) > TOLERANCE_SECONDS) return undefined;
  const given = signature.split(' ').flatMap((entry) => (entry.startsWith('v1,') ? [Buffer.from(entry.slice(3), 'base64')] : []));
  const isSigned = keys.some((key) => {
    const expected = digestOf(id, timestamp, body, key);
    return given.some((one) => one.length === expected.length && timingSafeEqual(one, expected));
  });
  return isSigned ? id : undefined;
}

/** Clerk sends with Svix, which uses its own header names. */
function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[`svix-${name}`] ?? headers[`webhook-${name}`];
  return typeof value === 'string' ? value : undefined;
}

import { createHmac } from 'node:crypto';

/** The key of Standard Webhooks: the decoded part after `whsec_`. */
export function standardKey(secret: string): Buffer {
  return Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
}

/** Polar's first scheme: the secret as text, with `whsec_`. */
export function legacyKey(secret: string): Buffer {
  return Buffer.from(secret);
}

export interface Attempt {
  /** The id of the message, the same in every attempt. */
  id: string;
  /** The time of the attempt, in seconds. */
  timestamp?: number;
  key: Buffer;
  headers?: 'svix' | 'webhook';
}

/** The signature headers of a body. */
export function signedHeaders(
  body: string | Buffer,
  { id, timestamp = Math.floor(Date.now() / 1000), key, headers = 'webhook' }: Attempt,
): Record<string, string> {
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64');
  return { [`${headers}-id`]: id, [`${headers}-timestamp`]: String(timestamp), [`${headers}-signature`]: `v1,${signature}` };
}

/** Posts one attempt to an endpoint. */
export async function postSigned(
  endpoint: string,
  body: string | Buffer,
  attempt: Attempt,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const headers = { 'content-type': 'application/json', ...signedHeaders(body, attempt) };
  const response = await fetch(endpoint, { method: 'POST', headers, body: body as string });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

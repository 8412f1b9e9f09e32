import { fromNodeHeaders } from 'better-auth/node';
import type { Request } from 'express';
import { CLIENT_ADDRESS_HEADER } from './better-auth.js';

/** A request as Better Auth takes it: without what it would read otherwise than we do. */
export function toWebRequest(request: Request, body: object | undefined, publicUrl: string): globalThis.Request {
  const headers = fromNodeHeaders(request.headers);
  headers.set(CLIENT_ADDRESS_HEADER, request.ip ?? '');
  // An explicit header beats the ambient cookie, and a wrong one never falls through to it.
  if (headers.has('authorization')) headers.delete('cookie');
  headers.delete('content-length');
  headers.delete('transfer-encoding');
  // Node's fetch sends the mode alone, browsers never do; Better Auth would take a server for a browser without an Origin.
  if (!headers.has('sec-fetch-site')) headers.delete('sec-fetch-mode');
  const hasBody = request.method !== 'GET' && request.method !== 'HEAD';
  if (hasBody) headers.set('content-type', 'application/json');
  // Not the address as it was sent: that may name another host, or one that is none.
  const search = /\?.*$/s.exec(request.originalUrl)?.[0] ?? '';
  return new globalThis.Request(new URL(`${publicUrl}${request.path}${search}`), {
    method: request.method,
    headers,
    body: hasBody ? JSON.stringify(body ?? {}) : undefined,
  });
}

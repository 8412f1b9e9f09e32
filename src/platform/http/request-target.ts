import type { IncomingMessage } from 'node:http';
import type { NextFunction, Request, Response } from 'express';
import { ExpectationFailed, HeadersTooLarge, MalformedRequest } from '../problems/problems.errors.js';

/** Node drops headers silently above 2,000, and with them perhaps a credential. Proxies add a dozen. */
const MAX_HEADERS = 100;

/** Clients keep fragments to themselves; with one, or with blanks, Express parses in another way, which throws for `//#@`. */
const NOT_IN_A_TARGET = /[#\s]/;

const unreadable = new WeakSet<IncomingMessage>();

/** Turns a target in absolute form into a path (RFC 9112, 3.2.2). Express would throw for one that is no URL. */
export function normalizeTarget(request: IncomingMessage): void {
  const { url = '' } = request;
  const isPath = url.startsWith('/') || url === '*';
  if (isPath && !NOT_IN_A_TARGET.test(url)) return;
  // The text is cut and not resolved: resolving would make another path of `/a/..` than the router sees.
  const [, rest] = /^https?:\/\/[^/?#\\]+(.*)$/i.exec(url) ?? [];
  const isReadable = rest !== undefined && URL.canParse(url) && !NOT_IN_A_TARGET.test(url);
  if (!isReadable) unreadable.add(request);
  request.url = isReadable ? (rest.startsWith('/') ? rest : `/${rest}`) : '/';
}

export function requireReadable(request: Request, _response: Response, next: NextFunction): void {
  const { headers, httpVersion, rawHeaders } = request;
  if (unreadable.has(request)) throw new MalformedRequest({ detail: 'The request target is not a path and not a URL.' });
  if (headers.host === undefined && httpVersion === '1.1') throw new MalformedRequest({ detail: 'Send a Host header.' });
  if (rawHeaders.length > 2 * MAX_HEADERS) throw new HeadersTooLarge({ detail: `Send at most ${MAX_HEADERS} headers.` });
  if (headers.expect !== undefined && !/^100-continue$/i.test(headers.expect)) throw new ExpectationFailed();
  next();
}

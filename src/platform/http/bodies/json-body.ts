import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import type { NextFunction, Request, Response } from 'express';
import { BodyTooLarge, InvalidRequest, MalformedBody, UnsupportedMediaType } from '../../problems/problems.errors.js';
import { isForm, parseForm } from './form-body.js';
import { parseWithExactNumbers } from './exact-numbers.js';

/** The largest body of an ordinary route is 200 prices: 1,201 values. */
const MAX_VALUES = 2000;
/** 1,000 events with all their fields and 20 entries of metadata: 31,002 values. */
const MAX_BATCH_VALUES = 40_000;

const [QUOTE, COMMA, OPEN_LIST, BACKSLASH, OPEN_OBJECT] = Buffer.from('",[\\{');

/** Webhooks are read as bytes, because their signatures cover bytes. */
export function isForWebhooks({ url = '' }: Pick<IncomingMessage, 'url'>): boolean {
  return /^\/webhooks\//i.test(url);
}

/** A batch reports bad items one by one, so each item is checked on its own. */
export function isBatch({ url = '' }: Pick<IncomingMessage, 'url'>): boolean {
  return /^\/v1\/(?:organizations\/[^/?]+\/)?usage\/batch\/?(?:$|\?)/i.test(url);
}

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** Refuses a body that is not JSON in UTF-8 (or a form where one is taken), before it is read. */
export function requireJson(request: Request, _response: Response, next: NextFunction): void {
  const { headers } = request;
  if (hasBody(request) && !isForWebhooks(request) && !isForm(request)) {
    if (request.is('application/json') === false) throw new UnsupportedMediaType();
    const [, charset = 'utf-8'] = /;\s*charset\s*=\s*"?([^\s";]*)/i.exec(headers['content-type'] ?? '') ?? [];
    // RFC 8259, 8.1. The bounds below count bytes, which mean something else in another encoding.
    if (!/^utf-?8$/i.test(charset)) throw new UnsupportedMediaType({ detail: 'Send the body as application/json in UTF-8.' });
  }
  next();
}

/** Refuses a body by its announced length; body-parser would wait until all of it was sent. */
export function limitBody(bytes: number) {
  return ({ headers }: Request, _response: Response, next: NextFunction): void => {
    if (Number(headers['content-length'] ?? 0) > bytes) throw new BodyTooLarge();
    next();
  };
}

/** Values are counted before parsing: a mebibyte of `[],[],…` takes a quarter of a second to parse. */
export function parseJson(request: Request, _response: Response, next: NextFunction): void {
  const body: unknown = request.body;
  if (Buffer.isBuffer(body) && isForm(request)) request.body = parseForm(body);
  else if (Buffer.isBuffer(body) && !isForWebhooks(request)) {
    const max = isBatch(request) ? MAX_BATCH_VALUES : MAX_VALUES;
    if (countValues(body, max) > max)
      throw new InvalidRequest({ errors: [{ path: 'body', message: `body must not have more than ${max} values` }] });
    request.body = body.length === 0 ? {} : parse(body);
  }
  next();
}

/** Counts values, an empty list or object twice, and stops above `max`. Whether it is JSON, the parser decides. */
export function countValues(body: Buffer, max: number): number {
  if (body.length <= max) return 0;
  let count = 1;
  let inText = false;
  for (let at = 0; at < body.length && count <= max; at += 1) {
    const byte = body[at];
    if (inText) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) inText = true;
    else if (byte === COMMA || byte === OPEN_LIST || byte === OPEN_OBJECT) count += 1;
  }
  return count;
}

function parse(body: Buffer): unknown {
  // Decoding would silently replace bytes that are not UTF-8.
  if (!isUtf8(body)) throw new MalformedBody({ detail: 'The body is not valid UTF-8.' });
  try {
    return parseWithExactNumbers(body.toString('utf8').replace(/^\uFEFF/, ''));
  } catch (error) {
    if (error instanceof SyntaxError) throw new MalformedBody();
    throw error;
  }
}

import type { NextFunction, Request, Response } from 'express';
import { InvalidRequest, RouteNotFound, UnsupportedMediaType } from './common.errors.js';
import type { InvalidField } from './problem.js';

const MAX_DEPTH = 32;
/** No object that we take has nearly as many; telling what is wrong with each would take seconds. */
const MAX_NAMES = 1000;

/** Refuses a body that is not JSON; it would silently be read as no body at all. */
export function requireJson(request: Request, _response: Response, next: NextFunction): void {
  // Read already, by a route that takes bytes.
  if (Buffer.isBuffer(request.body)) return next();
  const hasBody = request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
  if (hasBody && request.is('application/json') === false) throw new UnsupportedMediaType();
  next();
}

/**
 * Refuses text that PostgreSQL cannot store (NUL) or UTF-8 cannot carry (lone surrogates), and nesting
 * or numbers of names that only an attack has, wherever it stands in body, query or path.
 */
export function refuseUncleanInput(request: Request, _response: Response, next: NextFunction): void {
  // Lone surrogates in a path are no UTF-8, which Express refuses.
  if (request.path.includes('%00')) throw new RouteNotFound();
  const errors: InvalidField[] = [];
  if (!Buffer.isBuffer(request.body) && !answersItemByItem(request)) inspect(request.body, 'body', 0, errors);
  // Express parses it anew at each look.
  if (request.url.includes('?')) inspect(request.query, 'query', 0, errors);
  if (errors.length > 0) throw new InvalidRequest({ errors });
  next();
}

/** As above, of a part of a body that is answered for itself. */
export function uncleanFields(value: unknown, path: string): InvalidField[] {
  const errors: InvalidField[] = [];
  inspect(value, path, 0, errors);
  return errors;
}

/** A bad item must not spoil a batch: who reads one looks at each item with `uncleanFields`. */
function answersItemByItem({ path }: Request): boolean {
  return /\/usage\/batch\/?$/i.test(path);
}

function inspect(value: unknown, path: string, depth: number, errors: InvalidField[]): void {
  if (errors.length >= 20) return;
  if (typeof value === 'string') {
    if (!isStorable(value)) errors.push({ path, message: 'must not contain NUL characters or lone surrogates' });
  } else if (typeof value === 'object' && value !== null) {
    if (depth >= MAX_DEPTH) {
      errors.push({ path, message: `must not be nested deeper than ${MAX_DEPTH} levels` });
      return;
    }
    const entries = Object.entries(value);
    if (entries.length > MAX_NAMES && !Array.isArray(value)) {
      errors.push({ path, message: `must not have more than ${MAX_NAMES} names` });
      return;
    }
    for (const [key, child] of entries) {
      if (isStorable(key)) inspect(child, `${path}.${key}`, depth + 1, errors);
      else errors.push({ path, message: 'must not have names with NUL characters or lone surrogates' });
    }
  }
}

function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0');
}

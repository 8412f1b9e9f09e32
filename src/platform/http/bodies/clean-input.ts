import type { NextFunction, Request, Response } from 'express';
import { InvalidRequest, RouteNotFound } from '../../problems/problems.errors.js';
import { INEXACT_NUMBER } from './exact-numbers.js';
import { isBatch } from './json-body.js';
import { type InvalidField, MAX_ERRORS } from '../../problems/problem.js';
import { isStorable } from '../../text/storable-text.js';

const MAX_DEPTH = 32;
/** For a whole batch, because its events are checked later. Code that walks deeper objects would overflow the stack. */
const MAX_BATCH_DEPTH = 100;
const MAX_ENTRIES = 1000;
/** The longest text that a route takes is an ID token of 8,000 characters. */
const MAX_TEXT = 10_000;
const MAX_NAME = 1000;

/** Refuses text that PostgreSQL or UTF-8 cannot hold, and texts, lists and nesting beyond what any route needs. */
export function refuseUncleanInput(request: Request, _response: Response, next: NextFunction): void {
  // Lone surrogates in a path are no UTF-8, which Express refuses.
  if (request.path.includes('%00')) throw new RouteNotFound();
  const errors: InvalidField[] = [];
  const body: unknown = request.body;
  if (isBatch(request)) {
    if (isDeeperThan(MAX_BATCH_DEPTH, body))
      errors.push({ path: 'body', message: `must not be nested deeper than ${MAX_BATCH_DEPTH} levels` });
  } else if (!Buffer.isBuffer(body)) inspect(body, 'body', 0, errors);
  // Express parses it again at each access.
  if (request.url.includes('?')) inspect(request.query, 'query', 0, errors);
  if (errors.length > 0) throw new InvalidRequest({ errors });
  next();
}

function isDeeperThan(levels: number, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((child) => isDeeperThan(levels - 1, child));
}

export function uncleanFields(value: unknown, path: string): InvalidField[] {
  const errors: InvalidField[] = [];
  inspect(value, path, 0, errors);
  return errors;
}

function inspect(value: unknown, path: string, depth: number, errors: InvalidField[]): void {
  if (errors.length >= MAX_ERRORS) return;
  const refuse = (message: string) => void errors.push({ path, message });
  if (typeof value === 'string') {
    if (value === INEXACT_NUMBER) refuse('must be a number that a 64-bit float holds exactly');
    else if (value.length > MAX_TEXT) refuse(`must not be longer than ${MAX_TEXT} characters`);
    else if (!isStorable(value)) refuse('must not contain NUL characters or lone surrogates');
  } else if (typeof value === 'object' && value !== null) {
    if (depth >= MAX_DEPTH) return refuse(`must not be nested deeper than ${MAX_DEPTH} levels`);
    const entries = Object.entries(value);
    if (entries.length > MAX_ENTRIES) return refuse(`must not have more than ${MAX_ENTRIES} ${Array.isArray(value) ? 'items' : 'names'}`);
    for (const [key, child] of entries) {
      // Copying an object loses this name.
      if (key === '__proto__') errors.push({ path: `${path}.${key}`, message: 'property __proto__ should not exist' });
      else if (key.length > MAX_NAME) refuse(`must not have names longer than ${MAX_NAME} characters`);
      else if (!isStorable(key)) refuse('must not have names with NUL characters or lone surrogates');
      else inspect(child, `${path}.${key}`, depth + 1, errors);
    }
  }
}

import type { IncomingMessage } from 'node:http';
import type { NextFunction, Request, Response } from 'express';
import { newId } from './ids.js';

const SAFE_REQUEST_ID = /^[\w.:/+=-]{1,128}$/;

interface WithRequestId extends IncomingMessage {
  requestId?: string;
}

/** Takes the caller's `X-Request-Id` where it is harmless in a log, makes one where not, and sends it back. */
export function requestId(request: Request, response: Response, next: NextFunction): void {
  const given = request.headers['x-request-id'];
  const id = typeof given === 'string' && SAFE_REQUEST_ID.test(given) ? given : newId();
  (request as WithRequestId).requestId = id;
  response.setHeader('x-request-id', id);
  next();
}

export function requestIdOf(request: IncomingMessage): string {
  return (request as WithRequestId).requestId ?? '';
}

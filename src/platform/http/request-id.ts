import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { withoutSecrets } from '../logging/secret-text.js';
import type { NextFunction, Request, Response } from 'express';

const SAFE_REQUEST_ID = /^[\w.:/+=-]{1,128}$/;

const current = new AsyncLocalStorage<string>();

interface WithRequestId extends IncomingMessage {
  requestId?: string;
}

/** Accepts the caller's `X-Request-Id` if it is harmless in a log, or makes one. */
export function requestId(request: Request, response: Response, next: NextFunction): void {
  const given = request.headers['x-request-id'];
  const id = typeof given === 'string' && isLoggable(given) ? given : randomUUID();
  (request as WithRequestId).requestId = id;
  response.setHeader('x-request-id', id);
  current.run(id, next);
}

/** Somebody may send a credential in the wrong header. */
function isLoggable(id: string): boolean {
  return SAFE_REQUEST_ID.test(id) && withoutSecrets(id) === id;
}

export function requestIdOf(request: IncomingMessage): string {
  return (request as WithRequestId).requestId ?? '';
}

export function currentRequestId(): string | undefined {
  return current.getStore();
}

import type { NextFunction, Request, Response } from 'express';
import type { Logger } from 'pino';
import { clientAddressOf } from './network-addresses.js';
import { requestIdOf } from './request-id.js';

const QUIET = new Set(['/health/live', '/health/ready', '/metrics']);

/** Addresses that carry a secret in their path, in any spelling that a client might try. */
const WITH_TOKEN = /(\/reset-password\/).+/is;
const MAX_PATH = 500;

/** The part of an address that may be logged: no query (links carry tokens), no token. */
export function pathOf({ originalUrl }: Pick<Request, 'originalUrl'>): string {
  const end = originalUrl.search(/[?#]/);
  const path = originalUrl.slice(0, end === -1 ? MAX_PATH : Math.min(end, MAX_PATH));
  const readable = path.includes('%') ? decoded(path) : path;
  return WITH_TOKEN.test(readable) ? readable.replace(WITH_TOKEN, '$1[redacted]') : path;
}

function decoded(path: string): string {
  // Byte by byte, because decodeURIComponent refuses bytes that are not UTF-8.
  return path.replaceAll(/%([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

/** One line for each request, without query, headers or body. pino-http would make a logger for every request. */
export function requestLog(logger: Logger) {
  return (request: Request, response: Response, next: NextFunction): void => {
    const start = performance.now();
    const path = pathOf(request);
    // Read now, because the socket forgets it when it closes.
    const address = clientAddressOf(request);
    if (!QUIET.has(path)) {
      response.once('close', () => {
        const { method } = request;
        const [status, responseTime] = [response.statusCode, Math.round(performance.now() - start)];
        const outcome = response.writableFinished ? status : 'aborted';
        const line = { reqId: requestIdOf(request), req: { method, path, address }, res: { status }, responseTime };
        logger[status >= 500 ? 'error' : 'info'](line, `${method} ${path} ${outcome} ${responseTime}ms`);
      });
    }
    next();
  };
}

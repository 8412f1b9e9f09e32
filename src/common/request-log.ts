import type { NextFunction, Request, Response } from 'express';
import type { Logger } from 'pino';
import { clientAddressOf } from './network-addresses.js';
import { requestIdOf } from './request-id.js';

const QUIET = new Set(['/health/live', '/health/ready', '/metrics']);

/** The one address that carries a secret outside of its query. */
const WITH_TOKEN = /^(\/v1\/auth\/reset-password\/).+/i;

/** What of an address may be written down: no query (links carry tokens), no token. */
export function pathOf(request: Request): string {
  return request.originalUrl.split('?', 1)[0]!.replace(WITH_TOKEN, '$1[redacted]');
}

/**
 * One line a request, without its query, headers or body. Written here rather than by
 * pino-http, which makes a logger of its own for every request.
 */
export function requestLog(logger: Logger) {
  return (request: Request, response: Response, next: NextFunction): void => {
    const start = performance.now();
    const path = pathOf(request);
    // Read now: the socket forgets it when it closes.
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

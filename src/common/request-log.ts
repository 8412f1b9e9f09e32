import type { NextFunction, Request, Response } from 'express';
import type { Logger } from 'pino';
import { requestIdOf } from './request-id.js';

const QUIET = new Set(['/health/live', '/health/ready', '/metrics']);

/**
 * One line a request, without its query (links carry tokens), headers or body. Written here rather than by
 * pino-http, which makes a logger of its own for every request.
 */
export function requestLog(logger: Logger) {
  return (request: Request, response: Response, next: NextFunction): void => {
    const start = performance.now();
    const path = request.originalUrl.split('?', 1)[0]!;
    if (!QUIET.has(path)) {
      response.once('close', () => {
        const { method } = request;
        const [status, responseTime] = [response.statusCode, Math.round(performance.now() - start)];
        const outcome = response.writableFinished ? status : 'aborted';
        const line = { reqId: requestIdOf(request), req: { method, path }, res: { status }, responseTime };
        logger[status >= 500 ? 'error' : 'info'](line, `${method} ${path} ${outcome} ${responseTime}ms`);
      });
    }
    next();
  };
}

import type { NextFunction, Request, Response } from 'express';
import type { Logger } from 'pino';
import { isId } from '../crypto/ids.js';
import { clientAddressOf } from './network-addresses.js';
import { requestIdOf } from './request-id.js';

const QUIET = new Set(['/health/live', '/health/ready', '/metrics']);

/** The only route with a secret in its path. */
const WITH_TOKEN = /(\/reset-password\/).+/is;
/** Segments that are ids, or too short for a token. A credential can stand anywhere in the path of a wrong request. */
const PLAIN = /^(?:\/(?:[\w.-]{0,31}|[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})(?![^/]))*/i;
const MAX_PATH = 500;

/** The part of an address that may be logged: no query (links carry tokens), no token. */
export function pathOf({ originalUrl }: Pick<Request, 'originalUrl'>): string {
  const end = originalUrl.search(/[?#]/);
  const path = end === -1 ? originalUrl : originalUrl.slice(0, end);
  const [plain] = PLAIN.exec(path)!;
  const shown = plain.length === path.length ? path : `${plain}/[redacted]`;
  return shown.replace(WITH_TOKEN, '$1[redacted]').slice(0, MAX_PATH);
}

interface LoggedCaller {
  userId?: string;
  apiKeyId?: string;
  /** Of a key. The organization of a user is in the path. */
  organizationId?: string;
}

interface Known {
  routeOf: (request: Request) => string | undefined;
  callerOf: (request: Request) => LoggedCaller | undefined;
}

/** One line for each request, without query, headers or body. pino-http would make a logger for every request. */
export function requestLog(logger: Logger, { routeOf, callerOf }: Known) {
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
        const caller = callerOf(request);
        const line = {
          reqId: requestIdOf(request),
          req: { method, path, address },
          route: routeOf(request),
          userId: caller?.userId,
          apiKeyId: caller?.apiKeyId,
          organizationId: caller && (caller.organizationId ?? organizationIn(request)),
          res: { status },
          responseTime,
        };
        logger[status >= 500 ? 'error' : 'info'](line, `${method} ${path} ${outcome} ${responseTime}ms`);
      });
    }
    next();
  };
}

function organizationIn({ params }: Request): string | undefined {
  const id: unknown = params['organizationId'];
  return isId(id) ? id.toLowerCase() : undefined;
}

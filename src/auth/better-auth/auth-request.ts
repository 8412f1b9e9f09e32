import type { IncomingHttpHeaders } from 'node:http';
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Request } from 'express';
import { type Actor, originOf } from '../../access/principal.js';
import { AUTH_BASE_PATH } from '../links/mail-link.js';
import { forwardedPath } from './forwarded-path.js';

/** The parts of a request that the services of this folder need. */
export interface AuthRequest {
  method: string;
  /** The matched route below `/v1/auth`, with its parameters. */
  path: string;
  /** The query string with its question mark, or empty. */
  query: string;
  headers: IncomingHttpHeaders;
  origin: Pick<Actor, 'requestId' | 'ipAddress'>;
}

export function readAuthRequest(request: Request): AuthRequest {
  return {
    method: request.method,
    path: forwardedPath(request, AUTH_BASE_PATH),
    query: /\?.*$/s.exec(request.originalUrl)?.[0] ?? '',
    headers: request.headers,
    origin: originOf(request),
  };
}

export const FromRequest = createParamDecorator((_: unknown, context: ExecutionContext) =>
  readAuthRequest(context.switchToHttp().getRequest<Request>()),
);

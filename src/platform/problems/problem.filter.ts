import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, Logger } from '@nestjs/common';
import type { Request, Response } from 'express';
import { isDatabaseUnavailable, isDeadlock, ConcurrencyConflict } from '../database/database-errors.js';
import {
  BodyTooLarge,
  InternalError,
  InvalidRequest,
  MalformedBody,
  RouteNotFound,
  ServiceUnavailable,
  UnsupportedMediaType,
} from './problems.errors.js';
import { Problem, problemBody } from './problem.js';
import { requestIdOf } from '../http/request-id.js';
import { pathOf } from '../http/request-log.js';

/** Turns every error into one problem. An unexpected one is logged and gets no detail. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  private readonly logger = new Logger(ProblemFilter.name);

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const [request, response] = [http.getRequest<Request>(), http.getResponse<Response>()];
    const problem = toProblem(error);
    if (problem.status >= 500)
      this.logger.error({ err: error, requestId: requestIdOf(request) }, `${request.method} ${pathOf(request)}: ${problem.code}`);
    if (response.headersSent) {
      // Part of the response was sent, so only closing the connection shows that it is incomplete.
      response.destroy();
      return;
    }
    noteRefusal(response, problem);
    this.send(request, response, problem);
  }

  protected send(request: Request, response: Response, problem: Problem): void {
    sendProblem(request, response, problem);
  }
}

interface WithRefusal extends Response {
  refusal?: string;
}

const REFUSALS = new Set([401, 403, 408, 429]);

/** The reason of a refused request: the code of its problem. */
export function refusalOf(response: Response): string | undefined {
  return (response as WithRefusal).refusal;
}

function noteRefusal(response: WithRefusal, { status, code }: Problem, reason?: string): void {
  if (reason !== undefined || REFUSALS.has(status)) response.refusal = reason ?? code;
}

/** For code outside of Nest, where no filter runs. @param reason why it was refused, where the code does not say it */
export function sendProblem(request: Request, response: Response, problem: Problem, reason?: string): void {
  noteRefusal(response, problem, reason);
  if (problem.status === 401) response.setHeader('www-authenticate', 'Bearer');
  for (const [name, value] of Object.entries(problem.headers)) if (value !== undefined) response.setHeader(name, value);
  response
    .status(problem.status)
    .setHeader('content-type', 'application/problem+json; charset=utf-8')
    .end(JSON.stringify(problemBody(problem, requestIdOf(request), request.method === 'GET' ? 'query' : 'body')));
}

function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  // First, and from Nest's wrapper: a caller that hangs up must not look like an unavailable database.
  const fault = fromBodyParser(error instanceof HttpException ? error.cause : error);
  if (fault !== undefined) return fault;
  // After a deadlock nothing is stored, so the same request works a moment later.
  if (isDatabaseUnavailable(error) || isDeadlock(error) || error instanceof ConcurrencyConflict)
    return new ServiceUnavailable({ headers: { 'retry-after': '1' } });
  return fromNest(error) ?? new InternalError();
}

/** body-parser and Express mark their errors with `type` or a status: https://github.com/expressjs/body-parser#errors */
function fromBodyParser(error: unknown): Problem | undefined {
  if (!(error instanceof Error)) return undefined;
  const { type, status } = error as Error & { type?: string; status?: number };
  if (type === 'entity.too.large') return new BodyTooLarge();
  if (type === 'encoding.unsupported')
    return new UnsupportedMediaType({
      detail: 'Send the body without Content-Encoding. Compressed bodies are not accepted.',
      headers: { 'accept-encoding': 'identity' },
    });
  if (type?.startsWith('entity.') === true || type?.startsWith('request.') === true) return new MalformedBody();
  // `%ff` in a path, and every other error that Express blames on the client.
  if (error instanceof URIError) return new RouteNotFound();
  if (status !== undefined && status >= 400 && status < 500) return new InvalidRequest({ detail: 'The request is not valid.' });
  return undefined;
}

function fromNest(error: unknown): Problem | undefined {
  if (!(error instanceof HttpException)) return undefined;
  const status = error.getStatus();
  if (status === 404) return new RouteNotFound();
  if (status === 413) return new BodyTooLarge();
  if (status === 415) return new UnsupportedMediaType();
  if (status === 503) return new ServiceUnavailable({ headers: { 'retry-after': '1' } });
  if (status >= 400 && status < 500) return new InvalidRequest({ detail: error.message });
  return undefined;
}

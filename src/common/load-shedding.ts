import type { NextFunction, Request, Response } from 'express';
import { ServiceUnavailable } from './common.errors.js';
import { sendProblem } from './problem.filter.js';

/**
 * Refuses what comes while `limit` requests are at work, health checks aside: under more load than it can
 * carry a process that takes everything finishes nothing in time. A refusal costs a fraction of an answer and
 * is not logged one by one.
 */
export function shedLoad(limit: number) {
  let atWork = 0;
  return (request: Request, response: Response, next: NextFunction): void => {
    if (atWork >= limit && !request.path.startsWith('/health/')) {
      sendProblem(
        request,
        response,
        new ServiceUnavailable({ detail: 'Too many requests are at work here. Try again shortly.', headers: { 'retry-after': '1' } }),
      );
      return;
    }
    atWork += 1;
    response.once('close', () => {
      atWork -= 1;
    });
    next();
  };
}

import type { NextFunction, Request, Response } from 'express';
import { Counter, Histogram } from 'prom-client';
import { isKnownMethod } from '../http/request-methods.js';
import { refusalOf } from '../problems/problem.filter.js';
import type { Metrics } from './metrics.service.js';

/** Times every response by the template of its route, and counts refusals. No label holds text of a caller. */
export class HttpMetrics {
  private readonly seconds: Histogram<'route' | 'method' | 'status'>;
  private readonly refusals: Counter<'status' | 'reason'>;
  private readonly children = new Map<string, Histogram.Internal<string>>();

  constructor(
    { registry }: Metrics,
    private readonly routeOf: (request: Request) => string | undefined,
  ) {
    this.seconds = new Histogram({
      name: 'http_request_duration_seconds',
      help: 'Time from the head of a request to the end of its response. Addresses without a route share "unmatched"; status "aborted" means that the connection was closed first',
      labelNames: ['route', 'method', 'status'],
      registers: [registry],
      buckets: [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 10],
    });
    this.refusals = new Counter({
      name: 'tenantry_refusals_total',
      help: 'Refused requests (401, 403, 408, 429) by the code of the problem, those refused under overload, and unreadable ones',
      labelNames: ['status', 'reason'],
      registers: [registry],
    });
  }

  middleware() {
    return (request: Request, response: Response, next: NextFunction): void => {
      const start = performance.now();
      response.once('close', () => {
        const status = response.writableFinished ? String(response.statusCode) : 'aborted';
        this.childOf(this.routeOf(request) ?? 'unmatched', request.method, status).observe((performance.now() - start) / 1000);
        const reason = refusalOf(response);
        if (reason !== undefined) this.refuse(response.statusCode, reason);
      });
      next();
    };
  }

  readonly refuse = (status: number, reason: string): void => this.refusals.inc({ status, reason });

  /** Bound once: labels as an object for each request would cost as much as the rest. */
  private childOf(route: string, given: string, status: string): Histogram.Internal<string> {
    const method = isKnownMethod(given) ? given : 'other';
    const key = `${status} ${method} ${route}`;
    let child = this.children.get(key);
    if (child === undefined) this.children.set(key, (child = this.seconds.labels(route, method, status)));
    return child;
  }
}

import type { Request, RequestHandler } from 'express';

export interface SpanDetails {
  /** The stored `traceparent` of the work's cause. Null begins a new trace. */
  traceparent: string | null;
  /** By OpenTelemetry's conventions; no secret and no personal data. */
  attributes: Record<string, string | number>;
}

interface ObservedPool {
  observe(observer: (statement: string, startedAt: number, error?: unknown) => void): void;
}

/** Spans of requests, statements and queued work. This one makes none: OpenTelemetry is loaded only where it is configured. */
export class Tracing {
  middleware(_routeOf: (request: Request) => string | undefined): RequestHandler | undefined {
    return undefined;
  }

  watch(_pool: ObservedPool): void {}

  /** The current span, to be stored with work that is done later. */
  traceparent(): string | null {
    return null;
  }

  async continue<T>(_name: string, _details: SpanDetails, work: () => Promise<T>): Promise<T> {
    return work();
  }
}

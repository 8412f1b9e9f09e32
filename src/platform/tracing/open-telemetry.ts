import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import {
  type Context,
  defaultTextMapGetter,
  defaultTextMapSetter,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { type ExportResult, ExportResultCode, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base';
import type { Request, RequestHandler } from 'express';
import { requestIdOf } from '../http/request-id.js';
import { isKnownMethod } from '../http/request-methods.js';
import { type SpanDetails, Tracing } from './tracing.js';

const QUIET = /^\/(?:health\/|metrics$)/;
/** A collector that is away must not hold up a stop. */
const FLUSH_WITHIN_MS = 3000;

interface Collector {
  endpoint: string;
  headers?: Record<string, string>;
  /** Of traces that begin here, from 0 to 1. */
  share: number;
  serviceName: string;
}

/** Nothing is registered globally: Better Auth would add spans of its own, with what a caller sent. */
export class OpenTelemetryTracing extends Tracing implements OnApplicationShutdown {
  private readonly active = new AsyncLocalStorage<Context>();
  private readonly propagator = new W3CTraceContextPropagator();
  private readonly provider: BasicTracerProvider;
  private readonly tracer;

  constructor({ endpoint, headers, share, serviceName }: Collector) {
    super();
    const exporter = new LoggingExporter({ url: `${endpoint}/v1/traces`, headers, timeoutMillis: FLUSH_WITHIN_MS });
    this.provider = new BasicTracerProvider({
      resource: defaultResource().merge(resourceFromAttributes({ 'service.name': serviceName })),
      sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(share) }),
      spanProcessors: [new BatchSpanProcessor(exporter)],
    });
    this.tracer = this.provider.getTracer('tenantry');
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.race([this.provider.shutdown(), sleep(FLUSH_WITHIN_MS, undefined, { ref: false })]);
  }

  override middleware(routeOf: (request: Request) => string | undefined): RequestHandler {
    return (request, response, next) => {
      if (QUIET.test(request.path)) return next();
      const method = isKnownMethod(request.method) ? request.method : '_OTHER';
      const parent = this.propagator.extract(ROOT_CONTEXT, request.headers, defaultTextMapGetter);
      const attributes = { 'http.request.method': method, 'tenantry.request_id': requestIdOf(request) };
      const span = this.tracer.startSpan(method, { kind: SpanKind.SERVER, attributes }, parent);
      response.once('close', () => {
        const route = routeOf(request);
        if (route !== undefined) span.updateName(`${method} ${route}`).setAttribute('http.route', route);
        const { statusCode, writableFinished } = response;
        if (writableFinished) span.setAttribute('http.response.status_code', statusCode);
        if (!writableFinished || statusCode >= 500) fail(span, writableFinished ? String(statusCode) : 'aborted');
        span.end();
      });
      this.active.run(trace.setSpan(parent, span), () => next());
    };
  }

  override watch(pool: Parameters<Tracing['watch']>[0]): void {
    pool.observe((statement, startedAt, error) => {
      const parent = this.active.getStore();
      // Pollers ask several times a second, and would each begin a trace.
      if (parent === undefined || trace.getSpan(parent)?.isRecording() !== true) return;
      const attributes = { 'db.system.name': 'postgresql', 'db.query.summary': statement };
      const span = this.tracer.startSpan(statement, { kind: SpanKind.CLIENT, startTime: startedAt, attributes }, parent);
      if (error !== undefined) fail(span, typeOf(error));
      span.end(performance.now());
    });
  }

  override traceparent(): string | null {
    const carrier: { traceparent?: string } = {};
    this.propagator.inject(this.active.getStore() ?? ROOT_CONTEXT, carrier, defaultTextMapSetter);
    return carrier.traceparent ?? null;
  }

  override async continue<T>(name: string, { traceparent, attributes }: SpanDetails, work: () => Promise<T>): Promise<T> {
    const parent = this.propagator.extract(ROOT_CONTEXT, { traceparent: traceparent ?? undefined }, defaultTextMapGetter);
    const span = this.tracer.startSpan(name, { kind: SpanKind.CONSUMER, attributes }, parent);
    return this.active.run(trace.setSpan(parent, span), async () => {
      try {
        return await work();
      } catch (error) {
        fail(span, typeOf(error));
        throw error;
      } finally {
        span.end();
      }
    });
  }
}

/** Logs the first failure of each outage of the collector. */
class LoggingExporter extends OTLPTraceExporter {
  private readonly logger = new Logger('Traces');
  private isAway = false;

  override export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    super.export(spans, (result) => {
      const hasFailed = result.code === ExportResultCode.FAILED;
      if (hasFailed && !this.isAway) this.logger.warn({ err: result.error }, 'Traces could not be sent. Further failures are not logged');
      this.isAway = hasFailed;
      done(result);
    });
  }
}

/** Without its message, which may quote a value. */
function typeOf(error: unknown): string {
  const { code, name } = error as { code?: unknown; name?: string };
  return typeof code === 'string' ? code : (name ?? 'Error');
}

function fail(span: Span, type: string): void {
  span.setAttribute('error.type', type).setStatus({ code: SpanStatusCode.ERROR });
}

import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Logger } from 'nestjs-pino';
import type { Express, NextFunction, Request, Response } from 'express';
import { wrongDeclarations } from './access/access-declarations.js';
import { documentedAccess } from './access/documented-access.js';
import { FailedDeliveries } from './access/rate-limits/failed-deliveries.service.js';
import { limitBeforeBody } from './access/rate-limits/limit-before-body.js';
import { RateLimiter } from './access/rate-limits/rate-limiter.service.js';
import { refuseFailedDeliveries } from './access/rate-limits/refuse-failed-deliveries.js';
import { knownCallerOf } from './access/principal.js';
import { AppModule } from './app.module.js';
import { Arrivals } from './platform/http/arrivals.js';
import { refuseUncleanInput } from './platform/http/bodies/clean-input.js';
import { isForm, MAX_FORM_BYTES } from './platform/http/bodies/form-body.js';
import { HttpAdapter } from './platform/http/http-adapter.js';
import { limitBody, parseJson, requireJson } from './platform/http/bodies/json-body.js';
import { LoadShedding } from './platform/http/load-shedding.js';
import { HttpMetrics } from './platform/metrics/http-metrics.js';
import { Metrics } from './platform/metrics/metrics.service.js';
import { Logs } from './platform/logging/logs.service.js';
import { StartupLogger } from './platform/logging/startup-logger.js';
import { trustProxies } from './platform/http/network-addresses.js';
import { requestId } from './platform/http/request-id.js';
import { requestLog } from './platform/http/request-log.js';
import { requireReadable } from './platform/http/request-target.js';
import { securityHeaders } from './platform/http/security-headers.js';
import { answerUnreadable } from './platform/http/unreadable-requests.js';
import { Config } from './platform/config/config.js';
import { corsFor } from './platform/http/cors.js';
import { HealthService } from './health/health.service.js';
import { Tracing } from './platform/tracing/tracing.js';
import { serveDocument } from './platform/openapi/document.js';
import { routesOf } from './platform/openapi/routes.js';

/** Creates the application that is served and tested. It does not listen yet. */
export async function createApp(config: Config): Promise<NestExpressApplication> {
  const requestTimeoutMs = config.requestTimeoutSeconds * 1000;
  const adapter = new HttpAdapter({ requestTimeoutMs, isBehindProxy: config.trustProxy !== 0 });
  const app = await NestFactory.create<NestExpressApplication>(AppModule.register(config), adapter, {
    bufferLogs: true,
    bodyParser: false,
    forceCloseConnections: false,
    abortOnError: false,
  });
  app.useLogger(new StartupLogger(app.get(Logger)));
  app.flushLogs();
  checkRoutes(app);
  configureExpress(adapter.getInstance(), config);
  useMiddleware(app, adapter, config);
  if (config.apiDocs) serveDocument(app, documentedAccess);
  return app;
}

/** A route that could only fail must not start. */
function checkRoutes(app: NestExpressApplication): void {
  const wrong = wrongDeclarations(routesOf(app));
  if (wrong.length > 0) throw new Error(`Routes with wrong access:\n${wrong.join('\n')}`);
}

function configureExpress(express: Express, { trustProxy }: Config): void {
  trustProxies(express, trustProxy);
  // An ETag costs 20 µs a request, and no response may be cached.
  express.set('etag', false);
  express.set('x-powered-by', false);
  express.set('query parser', 'simple');
}

/** Everything a request passes before its route, in this order. Cheap refusals come first, the body is read last. */
function useMiddleware(app: NestExpressApplication, { routes }: HttpAdapter, config: Config): void {
  const { requests: logger } = app.get(Logs);
  const arrivals = new Arrivals(config.maxConcurrentRequests, config.bodyLimitBytes);
  const load = new LoadShedding({
    limit: config.maxConcurrentRequests,
    targetMs: config.overloadTargetMs,
    readTimeoutMs: config.requestTimeoutSeconds * 1000,
  });
  const routeOf = (request: Request) => routes.templateOf(request);
  const metrics = new HttpMetrics(app.get(Metrics), routeOf);
  const tracing = app.get(Tracing).middleware(routeOf);
  answerUnreadable(app.getHttpServer(), arrivals, { logger, onRefusal: metrics.refuse });
  app.getHttpServer().once('close', load.start());

  app.use(requestId);
  app.use(metrics.middleware());
  if (tracing !== undefined) app.use(tracing);
  // Before anything that may refuse a request, so that every response has them.
  app.use(securityHeaders);
  app.use(arrivals.admit);
  app.use(load.refuse);
  app.use(requestLog(logger, { routeOf, callerOf: knownCallerOf }));
  app.use(closeWhileStopping(app.get(HealthService)));
  app.use(requireReadable);
  app.enableCors(corsFor(config.trustedOrigins));
  app.use(refuseFailedDeliveries(app.get(FailedDeliveries)));
  app.use(requireJson);
  app.use(limitBody(config.bodyLimitBytes));
  app.use(limitBeforeBody(app.get(RateLimiter)));
  // Compressed bodies are refused: a few bytes can become a mebibyte.
  app.useBodyParser('raw', { type: isForm, limit: MAX_FORM_BYTES, inflate: false });
  app.useBodyParser('raw', { type: () => true, limit: config.bodyLimitBytes, inflate: false });
  app.use(load.begin);
  app.use(parseJson);
  app.use(refuseUncleanInput);
}

/** Asks clients to connect to another process once this one shuts down. */
function closeWhileStopping(health: HealthService) {
  return (_request: Request, response: Response, next: NextFunction): void => {
    if (health.isStopping) response.setHeader('connection', 'close');
    next();
  };
}

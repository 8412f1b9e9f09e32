import type { LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Logger } from 'nestjs-pino';
import type { Express, NextFunction, Request, Response } from 'express';
import { documentedAccess } from './access/documented-access.js';
import { spendBeforeBody } from './access/rate-limits/early-allowance.js';
import { FailedDeliveries } from './access/rate-limits/failed-deliveries.service.js';
import { RateLimiter } from './access/rate-limits/rate-limiter.service.js';
import { AppModule } from './app.module.js';
import { Arrivals } from './platform/http/arrivals.js';
import { refuseUncleanInput } from './platform/http/bodies/clean-input.js';
import { isForm, MAX_FORM_BYTES } from './platform/http/bodies/form-body.js';
import { HttpAdapter } from './platform/http/http-adapter.js';
import { limitBody, parseJson, requireJson } from './platform/http/bodies/json-body.js';
import { LoadShedding } from './platform/http/load-shedding.js';
import { Logs } from './platform/logging/logs.service.js';
import { normalizeAddress } from './platform/http/network-addresses.js';
import { requestId } from './platform/http/request-id.js';
import { requestLog } from './platform/http/request-log.js';
import { requireReadable } from './platform/http/request-target.js';
import { securityHeaders } from './platform/http/security-headers.js';
import { answerUnreadable } from './platform/http/unreadable-requests.js';
import { Config } from './platform/config/config.js';
import { isTrustedOrigin } from './platform/config/trusted-origins.js';
import { HealthService } from './health/health.service.js';
import { serveDocument } from './platform/openapi/document.js';

/** The application as it is served and tested, not yet listening. */
export async function createApp(config: Config): Promise<NestExpressApplication> {
  const requestTimeoutMs = config.requestTimeoutSeconds * 1000;
  const app = await NestFactory.create<NestExpressApplication>(
    AppModule.register(config),
    new HttpAdapter({ requestTimeoutMs, isBehindProxy: config.trustProxy !== 0 }),
    {
      bufferLogs: true,
      bodyParser: false,
      forceCloseConnections: false,
      abortOnError: false,
    },
  );
  app.useLogger(new StartupLogger(app.get(Logger)));
  app.flushLogs();

  const express = app.getHttpAdapter().getInstance();
  trustProxies(express, config.trustProxy);
  // An ETag costs 20 us a request, and nothing here is cached by anybody.
  express.set('etag', false);
  express.set('x-powered-by', false);
  express.set('query parser', 'simple');

  const health = app.get(HealthService);
  app.use(requestId);
  // First, so that every answer has them, a refusal under load included.
  app.use(securityHeaders);
  const arrivals = new Arrivals(config.maxConcurrentRequests, config.bodyLimitBytes);
  app.use(arrivals.admit);
  const load = new LoadShedding({ limit: config.maxConcurrentRequests, readTimeoutMs: requestTimeoutMs });
  app.use(load.refuse);
  const { requests: logger } = app.get(Logs);
  answerUnreadable(app.getHttpServer(), arrivals, logger);
  app.use(requestLog(logger));
  app.use((_request: Request, response: Response, next: NextFunction) => {
    if (health.isStopping) response.setHeader('connection', 'close');
    next();
  });
  app.use(requireReadable);
  app.enableCors({
    // An empty list refuses the origin and still answers the preflight.
    origin: (origin, decide) => decide(null, origin !== undefined && isTrustedOrigin(config.trustedOrigins, origin) ? true : []),
    credentials: true,
    // Chromium keeps a preflight for two hours at most.
    maxAge: 7200,
    exposedHeaders: [
      'X-Request-Id',
      'RateLimit',
      'RateLimit-Policy',
      'Retry-After',
      'Set-Auth-Token',
      'Idempotent-Replayed',
      'Content-Disposition',
    ],
  });
  app.use(app.get(FailedDeliveries).refuse);
  app.use(requireJson);
  app.use(limitBody(config.bodyLimitBytes));
  app.use(spendBeforeBody(app.get(RateLimiter)));
  // A few bytes of a compressed body can become a mebibyte, and no client of a JSON API needs compression.
  app.useBodyParser('raw', { type: isForm, limit: MAX_FORM_BYTES, inflate: false });
  app.useBodyParser('raw', { type: () => true, limit: config.bodyLimitBytes, inflate: false });
  app.use(load.begin);
  app.use(parseJson);
  app.use(refuseUncleanInput);
  app.getHttpServer().once('close', load.start());
  if (config.apiDocs) serveDocument(app, documentedAccess);
  return app;
}

/** Express compares addresses as they are written; a proxy may write its port along. */
function trustProxies(express: Express, trusted: Config['trustProxy']): void {
  express.set('trust proxy', trusted);
  const isTrusted = express.get('trust proxy fn') as (address: string, hop: number) => boolean;
  express.set('trust proxy', (address: string, hop: number) => isTrusted(normalizeAddress(address) ?? address, hop));
}

/** Nest tells of every module and route it loads; that is no news. */
class StartupLogger implements LoggerService {
  private static readonly contexts: unknown[] = ['NestFactory', 'InstanceLoader', 'RoutesResolver', 'RouterExplorer', 'NestApplication'];
  readonly error: Logger['error'];
  readonly warn: Logger['warn'];
  readonly fatal: Logger['fatal'];

  constructor(private readonly logger: Logger) {
    this.error = logger.error.bind(logger);
    this.warn = logger.warn.bind(logger);
    this.fatal = logger.fatal.bind(logger);
  }

  log(message: unknown, ...optional: unknown[]): void {
    if (!StartupLogger.contexts.includes(optional.at(-1))) this.logger.log(message, ...optional);
  }
}

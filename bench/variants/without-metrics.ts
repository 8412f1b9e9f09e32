import type { RequestHandler } from 'express';
import { HttpMetrics } from '../../src/platform/metrics/http-metrics.js';
import { DatabaseMetrics } from '../../src/platform/database/statements/database-metrics.service.js';

// Loaded before dist/main.js: the real program without the times of requests and statements.
HttpMetrics.prototype.middleware = (): RequestHandler => (_request, _response, next) => next();
DatabaseMetrics.prototype.watch = () => undefined;

import type { IncomingMessage, ServerResponse } from 'node:http';
import { Module } from '@nestjs/common';
import { LoggerModule } from 'nestjs-pino';
import { pino } from 'pino';
import { build as prettyStream } from 'pino-pretty';
import { Config } from '../config/config.js';
import { describeError } from './error-description.js';
import { requestIdOf } from './request-id.js';

const QUIET = new Set(['/health/live', '/health/ready', '/metrics']);

/** Names under which a secret could come along; none of them is ever written out. */
const SECRETS = [
  'authorization',
  'cookie',
  'password',
  'newPassword',
  'currentPassword',
  'token',
  'secret',
  'accessToken',
  'refreshToken',
  'idToken',
];

/** Structured logs: one line a request, without its query (links carry tokens), headers or body. */
@Module({
  imports: [
    LoggerModule.forRootAsync({
      inject: [Config],
      useFactory: (config: Config) => ({
        pinoHttp: {
          logger: pino(
            {
              level: config.logLevel,
              redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
              serializers: { err: describeError },
            },
            config.environment === 'development'
              ? prettyStream({ ignore: 'pid,hostname,req,res,responseTime', sync: true })
              : pino.destination({ sync: config.environment === 'test' }),
          ),
          genReqId: requestIdOf,
          quietReqLogger: true,
          autoLogging: { ignore: (request: IncomingMessage) => QUIET.has(pathOf(request)) },
          serializers: {
            err: describeError,
            req: (request: { method: string; url: string }) => ({ method: request.method, path: pathOf(request) }),
            res: (response: { statusCode: number }) => ({ status: response.statusCode }),
          },
          customLogLevel: (_request: IncomingMessage, response: ServerResponse) => (response.statusCode >= 500 ? 'error' : 'info'),
          customSuccessMessage: (request: IncomingMessage, response: ServerResponse, milliseconds: number) =>
            `${request.method} ${pathOf(request)} ${response.statusCode} ${milliseconds}ms`,
        },
      }),
    }),
  ],
})
export class LoggingModule {}

function pathOf(request: { url?: string; originalUrl?: string }): string {
  return (request.originalUrl ?? request.url ?? '').split('?', 1)[0]!;
}

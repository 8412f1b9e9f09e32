import { Injectable } from '@nestjs/common';
import { type DestinationStream, type Logger, pino } from 'pino';
import { build as prettyStream } from 'pino-pretty';
import { Config } from '../config/config.js';
import { describeError } from './error-description.js';
import { currentRequestId } from '../http/request-id.js';

/** Fields with these names are redacted. */
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

/** Lines are written together, by bytes or after milliseconds: a write for each costs more than the line. A regular exit writes the rest. */
const BUFFERED = { sync: false, minLength: 32_768, maxWrite: 65_536, periodicFlush: 200 };

@Injectable()
export class Logs {
  readonly application: Logger;
  /** One line for each request, of known fields, so secrets are not searched for. */
  readonly requests: Logger;

  constructor(config: Config) {
    const destination = destinationOf(config.environment);
    this.application = pino(
      {
        level: config.logLevel,
        redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
        serializers: { err: describeError },
        mixin: () => ({ reqId: currentRequestId() }),
      },
      destination,
    );
    this.requests = pino({ level: config.logLevel }, destination);
  }
}

/** One for each process, so that lines from before the application exists keep their order. */
const destinations = new Map<Config['environment'], DestinationStream>();

function destinationOf(environment: Config['environment']): DestinationStream {
  let destination = destinations.get(environment);
  if (destination === undefined) {
    destination =
      environment === 'development'
        ? prettyStream({ ignore: 'pid,hostname,req,res,responseTime', sync: true })
        : pino.destination(environment === 'test' ? { sync: true } : BUFFERED);
    destinations.set(environment, destination);
  }
  return destination;
}

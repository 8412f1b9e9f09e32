import type { LoggerService } from '@nestjs/common';
import type { Logger } from 'nestjs-pino';

/** Parts of Nest that log each module and route they load. */
const QUIET_CONTEXTS: unknown[] = ['NestFactory', 'InstanceLoader', 'RoutesResolver', 'RouterExplorer', 'NestApplication'];

export class StartupLogger implements LoggerService {
  readonly error: Logger['error'];
  readonly warn: Logger['warn'];
  readonly fatal: Logger['fatal'];
  readonly debug: Logger['debug'];

  constructor(private readonly logger: Logger) {
    this.error = logger.error.bind(logger);
    this.warn = logger.warn.bind(logger);
    this.fatal = logger.fatal.bind(logger);
    this.debug = logger.debug.bind(logger);
  }

  log(message: unknown, ...optional: unknown[]): void {
    if (!QUIET_CONTEXTS.includes(optional.at(-1))) this.logger.log(message, ...optional);
  }
}

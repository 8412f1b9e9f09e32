import { Global, Module } from '@nestjs/common';
import { LoggerModule } from 'nestjs-pino';
import { describeError } from './error-description.js';
import { Logs } from './logs.service.js';

@Global()
@Module({
  imports: [
    LoggerModule.forRootAsync({
      inject: [Logs],
      // No routes: requests are logged by request-log.ts.
      useFactory: (logs: Logs) => ({ pinoHttp: { logger: logs.application, serializers: { err: describeError } }, forRoutes: [] }),
    }),
  ],
  providers: [Logs],
  exports: [Logs],
})
export class LoggingModule {}

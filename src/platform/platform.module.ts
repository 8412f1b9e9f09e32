import { Global, Module } from '@nestjs/common';
import { Keyring } from './crypto/keyring.service.js';
import { Metrics } from './metrics/metrics.service.js';
import { Cursors } from './pagination/cursors.service.js';
import { Config } from './config/config.js';
import { openTracing } from './tracing/open-tracing.js';
import { Tracing } from './tracing/tracing.js';
import { Clock, ClockOffset, SystemClock } from './time/clock.service.js';

@Global()
@Module({
  providers: [Clock, ClockOffset, SystemClock, Cursors, Keyring, Metrics, { provide: Tracing, useFactory: openTracing, inject: [Config] }],
  exports: [Clock, ClockOffset, SystemClock, Cursors, Keyring, Metrics, Tracing],
})
export class PlatformModule {}

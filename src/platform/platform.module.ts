import { Global, Module } from '@nestjs/common';
import { Keyring } from './crypto/keyring.service.js';
import { Metrics } from './metrics/metrics.service.js';
import { Cursors } from './pagination/cursors.service.js';
import { Clock, ClockOffset, SystemClock } from './time/clock.service.js';

@Global()
@Module({
  providers: [Clock, ClockOffset, SystemClock, Cursors, Keyring, Metrics],
  exports: [Clock, ClockOffset, SystemClock, Cursors, Keyring, Metrics],
})
export class PlatformModule {}

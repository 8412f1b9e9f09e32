import { Global, Module } from '@nestjs/common';
import { Keyring } from './crypto/keyring.service.js';
import { Metrics } from './metrics/metrics.service.js';
import { Cursors } from './pagination/cursors.service.js';
import { Clock, SystemClock } from './time/clock.service.js';

@Global()
@Module({ providers: [Clock, SystemClock, Cursors, Keyring, Metrics], exports: [Clock, SystemClock, Cursors, Keyring, Metrics] })
export class PlatformModule {}

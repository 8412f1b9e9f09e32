import { Global, Module } from '@nestjs/common';
import { Clock } from './time/clock.service.js';
import { Cursors } from './pagination/cursors.service.js';
import { Keyring } from './crypto/keyring.service.js';
import { Metrics } from './metrics/metrics.service.js';
import { PurgedIds } from '../sync/purged-ids.service.js';

@Global()
@Module({ providers: [Clock, Cursors, Keyring, Metrics, PurgedIds], exports: [Clock, Cursors, Keyring, Metrics, PurgedIds] })
export class CommonModule {}

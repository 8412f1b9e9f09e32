import { Global, Module } from '@nestjs/common';
import { Clock } from './clock.js';
import { Cursors } from './cursors.js';
import { Keyring } from './keyring.js';
import { Metrics } from './metrics.js';
import { PurgedIds } from './purged-ids.js';

@Global()
@Module({ providers: [Clock, Cursors, Keyring, Metrics, PurgedIds], exports: [Clock, Cursors, Keyring, Metrics, PurgedIds] })
export class CommonModule {}

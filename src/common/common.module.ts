import { Global, Module } from '@nestjs/common';
import { Cursors } from './cursors.js';
import { Keyring } from './keyring.js';
import { Metrics } from './metrics.js';
import { PurgedIds } from './purged-ids.js';

@Global()
@Module({ providers: [Cursors, Keyring, Metrics, PurgedIds], exports: [Cursors, Keyring, Metrics, PurgedIds] })
export class CommonModule {}

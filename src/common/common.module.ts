import { Global, Module } from '@nestjs/common';
import { Cursors } from './cursors.js';
import { Keyring } from './keyring.js';
import { Metrics } from './metrics.js';

@Global()
@Module({ providers: [Cursors, Keyring, Metrics], exports: [Cursors, Keyring, Metrics] })
export class CommonModule {}

import { Global, Module } from '@nestjs/common';
import { PurgedIds } from './purged-ids.service.js';
import { Reconciler } from './reconciler.service.js';

@Global()
@Module({ providers: [PurgedIds, Reconciler], exports: [PurgedIds, Reconciler] })
export class SyncModule {}

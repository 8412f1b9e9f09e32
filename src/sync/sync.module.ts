import { Global, Module } from '@nestjs/common';
import { PurgedIds } from './purged-ids.service.js';

@Global()
@Module({ providers: [PurgedIds], exports: [PurgedIds] })
export class SyncModule {}

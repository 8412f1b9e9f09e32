import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { RevocationJournal } from './revocation-journal.worker.js';
import { RevocationsRepository } from './revocations.repository.js';

@Module({ imports: [JobsModule], providers: [RevocationJournal, RevocationsRepository] })
export class RevocationsModule {}

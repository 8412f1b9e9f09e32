import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { OutboxRepository } from './outbox.repository.js';
import { OutboxService } from './outbox.service.js';

@Module({ imports: [JobsModule], providers: [OutboxRepository, OutboxService], exports: [OutboxService] })
export class OutboxModule {}

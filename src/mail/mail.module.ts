import { Module } from '@nestjs/common';
import { AccessModule } from '../access/access.module.js';
import { OutboxModule } from '../outbox/outbox.module.js';
import { MailLimits } from './mail-limits.service.js';
import { MailService } from './mail.service.js';

@Module({ imports: [AccessModule, OutboxModule], providers: [MailLimits, MailService], exports: [MailService] })
export class MailModule {}

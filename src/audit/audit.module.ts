import { Module } from '@nestjs/common';
import { AuditRepository } from './audit.repository.js';
import { AuditSealsRepository } from './seals/audit-seals.repository.js';
import { AuditSeals } from './seals/audit-seals.service.js';
import { AuditService } from './audit.service.js';

@Module({ providers: [AuditRepository, AuditService, AuditSealsRepository, AuditSeals], exports: [AuditService, AuditSeals] })
export class AuditModule {}

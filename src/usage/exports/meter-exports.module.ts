import { Module } from '@nestjs/common';
import { AuditModule } from '../../audit/audit.module.js';
import { MeterRegistry } from './meter.port.js';
import { MeterExporter } from './meter-exporter.worker.js';
import { MetersController } from './meter-exports.controller.js';
import { MeterExportsRepository } from './meter-exports.repository.js';
import { MeterExportsService } from './meter-exports.service.js';

@Module({
  imports: [AuditModule],
  controllers: [MetersController],
  providers: [MeterRegistry, MeterExportsRepository, MeterExporter, MeterExportsService],
  exports: [MeterRegistry, MeterExportsService],
})
export class MeterExportsModule {}

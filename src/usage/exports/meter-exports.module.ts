import { Module } from '@nestjs/common';
import { AuditModule } from '../../audit/audit.module.js';
import { Meters } from './meter.port.js';
import { MeterExporter } from './meter-exporter.worker.js';
import { MetersController } from './meter-exports.controller.js';
import { MetersRepository } from './meter-exports.repository.js';
import { MetersService } from './meter-exports.service.js';

@Module({
  imports: [AuditModule],
  controllers: [MetersController],
  providers: [Meters, MetersRepository, MeterExporter, MetersService],
  exports: [Meters, MetersService],
})
export class MetersModule {}

import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { Meters } from './meter.js';
import { MeterExporter } from './meter-exporter.js';
import { MetersController } from './meters.controller.js';
import { MetersRepository } from './meters.repository.js';
import { MetersService } from './meters.service.js';

@Module({
  imports: [AuditModule],
  controllers: [MetersController],
  providers: [Meters, MetersRepository, MeterExporter, MetersService],
  exports: [Meters, MetersService],
})
export class MetersModule {}

import { Module } from '@nestjs/common';
import { PricesModule } from '../../prices/prices.module.js';
import { OrganizationUsageReportsController } from './organization-usage-reports.controller.js';
import { UsageReportsController } from './usage-reports.controller.js';
import { UsageReportsRepository } from './usage-reports.repository.js';
import { UsageReportsService } from './usage-reports.service.js';
import { SummedUsageRepository } from './summed-usage.repository.js';

@Module({
  imports: [PricesModule],
  controllers: [UsageReportsController, OrganizationUsageReportsController],
  providers: [UsageReportsRepository, SummedUsageRepository, UsageReportsService],
})
export class UsageReportsModule {}

import { Controller, Get } from '@nestjs/common';
import { Public } from '../access/access.decorators.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { PlanListResponse, PlanResponse } from './plans.dto.js';
import { PlansService } from './plans.service.js';

@Controller('v1/plans')
@TagDescription('The plans and their limits.')
export class PlansController {
  constructor(private readonly plans: PlansService) {}

  /** Lists the plans, smallest first. */
  @Get()
  @Public()
  listPlans(): PlanListResponse {
    return { data: this.plans.list().map(PlanResponse.of), nextCursor: null };
  }
}

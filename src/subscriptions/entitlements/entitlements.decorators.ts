import { applyDecorators, SetMetadata, UseGuards } from '@nestjs/common';
import { Problems } from '../../platform/problems/problems.decorators.js';
import { FEATURE, FeatureGuard } from './entitlements.guard.js';
import { PlanRequired } from '../subscriptions.errors.js';

/**
 * Only for owners whose plan has a feature: the organization in the path (`:organizationId`), else the caller. The
 * module of the route imports `SubscriptionsModule`. Stands beside what says who may call.
 */
export const Requires = (feature: string): MethodDecorator =>
  applyDecorators(SetMetadata(FEATURE, feature), UseGuards(FeatureGuard), Problems(PlanRequired));

import { applyDecorators, SetMetadata, UseGuards } from '@nestjs/common';
import { Problems } from '../../platform/problems/problems.decorators.js';
import { FEATURE, FeatureGuard } from './entitlements.guard.js';
import { PlanRequired } from '../subscriptions.errors.js';

/**
 * Requires a feature of the plan of the organization in the path (`:organizationId`), else of the caller. Used next to
 * the decorator that declares access. The route's module imports `SubscriptionsModule`.
 */
export const Requires = (feature: string): MethodDecorator =>
  applyDecorators(SetMetadata(FEATURE, feature), UseGuards(FeatureGuard), Problems(PlanRequired));

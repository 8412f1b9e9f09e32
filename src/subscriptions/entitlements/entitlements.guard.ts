import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { Request } from 'express';
import { principalOf } from '../../access/principal.js';
import type { Owner } from '../../owners/owner.js';
import { SubscriptionsService } from '../subscriptions.service.js';

export const FEATURE = 'feature';

/** After the guard that says who calls, and that they may. */
@Injectable()
export class FeatureGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly subscriptions: SubscriptionsService,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const feature = this.reflector.get<string>(FEATURE, context.getHandler());
    await this.subscriptions.requireFeature(ownerOf(context.switchToHttp().getRequest<Request>()), feature);
    return true;
  }
}

function ownerOf(request: Request): Owner {
  const { organizationId } = request.params;
  return typeof organizationId === 'string'
    ? { kind: 'organization', id: organizationId }
    : { kind: 'user', id: principalOf(request).actor.id! };
}

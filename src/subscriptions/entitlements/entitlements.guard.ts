import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { Request } from 'express';
import { principalOf } from '../../access/principal.js';
import type { Owner } from '../../owners/owner.js';
import { EntitlementsService } from './entitlements.service.js';

export const FEATURE = 'feature';

/** Runs after the access guard. */
@Injectable()
export class FeatureGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly entitlements: EntitlementsService,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const feature = this.reflector.get<string>(FEATURE, context.getHandler());
    await this.entitlements.requireFeature(ownerOf(context.switchToHttp().getRequest<Request>()), feature);
    return true;
  }
}

function ownerOf(request: Request): Owner {
  const { organizationId } = request.params;
  return typeof organizationId === 'string'
    ? { kind: 'organization', id: organizationId }
    : { kind: 'user', id: principalOf(request).actor.id! };
}

import { PATH_METADATA } from '@nestjs/common/constants.js';
import { Reflector } from '@nestjs/core';
import type { Route } from '../platform/openapi/routes.js';
import { ACCESS, type Access, SCOPES } from './access.decorators.js';
import { CALLER_KIND, type CallerKind } from './principal.js';

/** Missing access decorators, and combinations that can only fail when they are called, one sentence each. */
export function wrongDeclarations(routes: ReadonlyMap<string, Route>): string[] {
  return [...routes].flatMap(([name, route]) => wrongWith(route).map((reason) => `${name}: ${reason}`));
}

function wrongWith({ handler, controller }: Route): string[] {
  const reflector = new Reflector();
  const targets = [handler, controller] as Parameters<Reflector['getAllAndOverride']>[1];
  const access = reflector.getAllAndOverride<Access | undefined>(ACCESS, targets);
  const scopes = reflector.getAllAndOverride<string[] | undefined>(SCOPES, targets);
  const caller = reflector.getAllAndOverride<CallerKind | undefined>(CALLER_KIND, targets);
  const path = [controller, handler].map((target) => String(Reflect.getMetadata(PATH_METADATA, target))).join('/');
  const wrong: string[] = [];
  if (access === undefined) wrong.push('It declares no access. Add @Roles(), @SignedIn(), @Operator() or @Public().');
  if (scopes !== undefined && !Array.isArray(access)) wrong.push('@Scopes() needs @Roles(), because a key belongs to an organization.');
  if (scopes !== undefined && caller === 'user')
    wrong.push('@Scopes() lets API keys in, but @CurrentUser() takes users only. Use @Caller().');
  if (access === 'public' && caller !== undefined) wrong.push('A @Public() route has no caller. Remove @Caller() or @CurrentUser().');
  if (Array.isArray(access) && !path.includes(':organizationId')) wrong.push('@Roles() needs :organizationId in the path.');
  return wrong;
}

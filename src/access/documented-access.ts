import { Reflector } from '@nestjs/core';
import type { DocumentedAccess } from '../platform/openapi/document.js';
import type { Route } from '../platform/openapi/routes.js';
import { ACCESS, LIMITS } from './access.decorators.js';
import { RateLimited } from './access.errors.js';
import { sessionCookieNames } from './credentials/session-cookies.js';
import { declaredScopes } from './scopes.js';

export const documentedAccess: DocumentedAccess = {
  sessionCookie: sessionCookieNames('http://localhost').current,
  scopes: declaredScopes,
  isPublic: (route) => metadataOf(ACCESS, route) === 'public',
  rateLimitOf: (route) => ((metadataOf(LIMITS, route) as unknown[] | undefined)?.length === 0 ? undefined : RateLimited),
};

function metadataOf(key: string, { handler, controller }: Route): unknown {
  const targets = [handler, controller] as Parameters<Reflector['getAllAndOverride']>[1];
  return new Reflector().getAllAndOverride<unknown>(key, targets);
}

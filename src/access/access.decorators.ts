import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';
import { Problems } from '../platform/problems/problems.decorators.js';
import { ServiceUnavailable } from '../platform/problems/problems.errors.js';
import type { Role } from '../memberships/organization-memberships.table.js';
import {
  AmbiguousCredentials,
  InvalidCredentials,
  OperatorOnly,
  OrganizationNotFound,
  RateLimited,
  RoleRequired,
  ScopeRequired,
  SessionRequired,
  SignedOut,
  UntrustedOrigin,
  UserSuspended,
} from './access.errors.js';
import { declareScopes, type Scope } from './scopes.js';

export const ACCESS = 'access';
export const SCOPES = 'scopes';
export const LIMITS = 'limits';

/** The callers of a route. A route without a declaration is refused. */
export type Access = 'public' | 'signed-in' | 'operator' | readonly Role[];

/** `api` and `usage` count calls by caller, `auth` by address, `mail` by address and the email in the body. */
export type Limit = 'api' | 'usage' | 'auth' | 'mail';

export const Public = (): MethodDecorator => SetMetadata(ACCESS, 'public' satisfies Access);

/** Every signed-in user, for their own data. */
export const SignedIn = (): MethodDecorator =>
  applyDecorators(SetMetadata(ACCESS, 'signed-in' satisfies Access), Problems(...CALLER_PROBLEMS, SessionRequired));

/** Operators of this installation. `npm run cli -- operator grant` appoints them; the API cannot. */
export const Operator = (): MethodDecorator =>
  applyDecorators(SetMetadata(ACCESS, 'operator' satisfies Access), Problems(...CALLER_PROBLEMS, SessionRequired, OperatorOnly));

/** Members of the organization in the path (`:organizationId`) with one of these roles. Operators may read; others get 404. */
export const Roles = (...roles: Role[]): MethodDecorator =>
  applyDecorators(
    SetMetadata(ACCESS, roles satisfies Access),
    Problems(...CALLER_PROBLEMS, OrganizationNotFound, RoleRequired, SessionRequired),
  );

/** Also lets in API keys of the organization that have all of these scopes. A scope exists because a route requires it. */
export const Scopes = (...scopes: Scope[]): MethodDecorator => {
  declareScopes(...scopes);
  return applyDecorators(SetMetadata(SCOPES, scopes), ApiSecurity('apiKey', scopes), Problems(ScopeRequired));
};

/** Counts calls against these limits instead of `api`; an empty list means no limit, for the operator's own machines. */
export const Limited = (...limits: Limit[]): MethodDecorator & ClassDecorator => SetMetadata(LIMITS, limits);

const CALLER_PROBLEMS = [
  AmbiguousCredentials,
  SignedOut,
  InvalidCredentials,
  UserSuspended,
  UntrustedOrigin,
  RateLimited,
  ServiceUnavailable,
];

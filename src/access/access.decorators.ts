import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';
import { Problems } from '../platform/problems/problems.decorators.js';
import { ServiceUnavailable } from '../platform/problems/problems.errors.js';
import type { ApiKeyScope } from '../api-keys/api-keys.table.js';
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

export const ACCESS = 'access';
export const SCOPES = 'scopes';
export const LIMITS = 'limits';

/** Who may call a route. A route that declares none is refused. */
export type Access = 'public' | 'signed-in' | 'operator' | readonly Role[];

/** Which allowances a call spends: `api` and `usage` count by the caller, `auth` by the address, `mail` by the address and the email in the body. */
export type Limit = 'api' | 'usage' | 'auth' | 'mail';

/** Anybody, signed in or not. */
export const Public = (): MethodDecorator => SetMetadata(ACCESS, 'public' satisfies Access);

/** Every signed-in user, about what is their own. */
export const SignedIn = (): MethodDecorator =>
  applyDecorators(SetMetadata(ACCESS, 'signed-in' satisfies Access), Problems(...OF_EVERY_CALLER, SessionRequired));

/** Operators of this installation: made by `npm run cli -- operator grant`, never over the API. */
export const Operator = (): MethodDecorator =>
  applyDecorators(SetMetadata(ACCESS, 'operator' satisfies Access), Problems(...OF_EVERY_CALLER, SessionRequired, OperatorOnly));

/**
 * Members of the organization in the path (`:organizationId`) with one of these roles; operators may read.
 * To everybody else the organization does not exist.
 */
export const Roles = (...roles: Role[]): MethodDecorator =>
  applyDecorators(
    SetMetadata(ACCESS, roles satisfies Access),
    Problems(...OF_EVERY_CALLER, OrganizationNotFound, RoleRequired, SessionRequired),
  );

/** Besides, API keys of the organization that have all of these scopes. */
export const Scopes = (...scopes: ApiKeyScope[]): MethodDecorator =>
  applyDecorators(SetMetadata(SCOPES, scopes), ApiSecurity('apiKey', scopes), Problems(ScopeRequired));

/** Spends these allowances instead of the general one; none for what is called by machines of the operator. */
export const Limited = (...limits: Limit[]): MethodDecorator & ClassDecorator => SetMetadata(LIMITS, limits);

const OF_EVERY_CALLER = [
  AmbiguousCredentials,
  SignedOut,
  InvalidCredentials,
  UserSuspended,
  UntrustedOrigin,
  RateLimited,
  ServiceUnavailable,
];

import { problem } from '../platform/problems/problem.js';

export class SignedOut extends problem(401, 'signed_out', 'You are signed out. Send a session token or a session cookie.') {}
export class InvalidCredentials extends problem(
  401,
  'invalid_credentials',
  'The credential is unknown, expired or revoked. Sign in again.',
) {}
export class AmbiguousCredentials extends problem(400, 'ambiguous_credentials', 'Send either Authorization or X-Api-Key, not both.') {}
export class UntrustedOrigin extends problem(
  403,
  'untrusted_origin',
  'A request that changes data with a cookie needs an Origin listed in TRUSTED_ORIGINS.',
) {}
export class UserSuspended extends problem(403, 'user_suspended', 'This user is suspended.') {}
export class OperatorOnly extends problem(403, 'operator_only', 'Only an operator can do this.') {}
export class AccessUndeclared extends problem(
  500,
  'access_undeclared',
  'This route does not declare its callers, so it refuses all of them.',
) {}
export class RateLimited extends problem(429, 'rate_limited', 'Too many requests. Wait for the number of seconds in Retry-After.') {}
export class OrganizationNotFound extends problem(
  404,
  'organization_not_found',
  'This organization does not exist, or you are not a member.',
) {}
export class RoleRequired extends problem(403, 'role_required', 'Your role in this organization does not allow this.') {}
export class ScopeRequired extends problem(403, 'scope_required', 'The API key does not have the required scope.') {}
export class SessionRequired extends problem(403, 'session_required', 'An API key cannot do this. Sign in as a user.') {}
export class UntrustedRedirect extends problem(
  403,
  'untrusted_redirect',
  'The redirect must lead to an origin listed in TRUSTED_ORIGINS.',
) {}

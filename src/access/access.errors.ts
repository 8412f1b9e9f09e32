import { problem } from '../platform/problems/problem.js';

export class SignedOut extends problem(401, 'signed_out', 'Sign in: send a session token or a session cookie.') {}
export class InvalidCredentials extends problem(
  401,
  'invalid_credentials',
  'The credential is unknown, expired or revoked. Sign in again.',
) {}
export class AmbiguousCredentials extends problem(400, 'ambiguous_credentials', 'Send either Authorization or X-Api-Key, not both.') {}
export class UntrustedOrigin extends problem(
  403,
  'untrusted_origin',
  'Requests that change something with a cookie need an Origin listed in TRUSTED_ORIGINS.',
) {}
export class UserSuspended extends problem(403, 'user_suspended', 'This user is suspended.') {}
export class OperatorOnly extends problem(403, 'operator_only', 'Only an operator may do this.') {}
export class AccessUndeclared extends problem(500, 'access_undeclared', 'This route declares no access, so nobody may call it.') {}
export class RateLimited extends problem(429, 'rate_limited', 'Too many requests. Wait for the time in Retry-After.') {}
export class OrganizationNotFound extends problem(404, 'organization_not_found', 'There is no such organization.') {}
export class RoleRequired extends problem(403, 'role_required', 'Your role in this organization does not allow this.') {}
export class ScopeRequired extends problem(403, 'scope_required', 'The API key lacks the scope that this needs.') {}
export class SessionRequired extends problem(403, 'session_required', 'An API key cannot do this. Sign in as a user.') {}
export class UntrustedRedirect extends problem(403, 'untrusted_redirect', 'Redirects lead only to origins listed in TRUSTED_ORIGINS.') {}

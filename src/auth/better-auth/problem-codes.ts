import { InvalidCredentials, UntrustedOrigin, UntrustedRedirect, UserSuspended } from '../../access/access.errors.js';
import { InternalError, RouteNotFound, ServiceUnavailable } from '../../platform/problems/problems.errors.js';
import { Problem, type ProblemClass } from '../../platform/problems/problem.js';
import { EmailTaken } from '../../users/users.errors.js';
import {
  EmailAlreadyVerified,
  InvalidToken,
  NoPassword,
  ProviderNotFound,
  ProviderSignInFailed,
  SignInRefused,
  WeakPassword,
  WrongCredentials,
  WrongPassword,
} from '../auth.errors.js';
import { COLLIDED } from '../adapter/database-failures.js';

/** Our problems by Better Auth's codes: https://www.better-auth.com/docs/reference/errors */
const PROBLEMS: Record<string, ProblemClass> = {
  INVALID_EMAIL_OR_PASSWORD: WrongCredentials,
  INVALID_PASSWORD: WrongPassword,
  CREDENTIAL_ACCOUNT_NOT_FOUND: NoPassword,
  INVALID_TOKEN: InvalidToken,
  TOKEN_EXPIRED: InvalidToken,
  USER_NOT_FOUND: InvalidToken,
  PASSWORD_TOO_SHORT: WeakPassword,
  PASSWORD_TOO_LONG: WeakPassword,
  USER_ALREADY_EXISTS: EmailTaken,
  USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL: EmailTaken,
  EMAIL_TAKEN: EmailTaken,
  EMAIL_ALREADY_VERIFIED: EmailAlreadyVerified,
  USER_SUSPENDED: UserSuspended,
  INVALID_ORIGIN: UntrustedOrigin,
  MISSING_OR_NULL_ORIGIN: UntrustedOrigin,
  CROSS_SITE_NAVIGATION_LOGIN_BLOCKED: UntrustedOrigin,
  INVALID_CALLBACK_URL: UntrustedRedirect,
  INVALID_REDIRECT_URL: UntrustedRedirect,
  INVALID_ERROR_CALLBACK_URL: UntrustedRedirect,
  INVALID_NEW_USER_CALLBACK_URL: UntrustedRedirect,
  PROVIDER_NOT_FOUND: ProviderNotFound,
  ID_TOKEN_NOT_SUPPORTED: ProviderNotFound,
  OAUTH_LINK_ERROR: ProviderSignInFailed,
  LINKING_NOT_ALLOWED: ProviderSignInFailed,
  LINKING_DIFFERENT_EMAILS_NOT_ALLOWED: ProviderSignInFailed,
  LINKING_FAILED: ProviderSignInFailed,
  SOCIAL_ACCOUNT_ALREADY_LINKED: ProviderSignInFailed,
  FAILED_TO_GET_USER_INFO: ProviderSignInFailed,
  USER_EMAIL_NOT_FOUND: ProviderSignInFailed,
  email_not_supported: ProviderSignInFailed,
  FAILED_TO_CREATE_USER: InternalError,
  FAILED_TO_CREATE_SESSION: InternalError,
  FAILED_TO_GET_SESSION: InternalError,
  SERVICE_UNAVAILABLE: ServiceUnavailable,
  [COLLIDED]: ServiceUnavailable,
};

/** Reads a failure of Better Auth, which has the body `{ message, code }`, plain text, or none. */
export async function toAuthProblem(response: Response, cookies: string[]): Promise<Problem> {
  const code = codeOf(await response.text());
  const problem = (code === undefined ? undefined : PROBLEMS[code]) ?? problemOfStatus(response.status);
  return new problem({
    headers: {
      ...(cookies.length > 0 && { 'set-cookie': cookies }),
      ...(problem === ServiceUnavailable && { 'retry-after': '1' }),
    },
  });
}

function problemOfStatus(status: number): ProblemClass {
  if (status >= 500) return InternalError;
  if (status === 404) return RouteNotFound;
  return status === 401 ? InvalidCredentials : SignInRefused;
}

function codeOf(body: string): string | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null && 'code' in parsed ? String(parsed.code) : undefined;
  } catch {
    // Plain text or empty: the status decides.
    return undefined;
  }
}

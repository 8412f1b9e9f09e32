import { problem } from '../platform/problems/problem.js';

export class WrongCredentials extends problem(401, 'wrong_credentials', 'Email or password is wrong.') {}
export class WrongPassword extends problem(400, 'wrong_password', 'The current password is wrong.') {}
export class NoPassword extends problem(400, 'no_password', 'This user has no password. Set one with a password reset.') {}
export class InvalidToken extends problem(400, 'invalid_token', 'The link or token is invalid, used or expired. Request a new one.') {}
export class LinkProofRequired extends problem(
  403,
  'link_proof_required',
  'Open the link in the browser where you are signed in and requested it, or send the password of the account.',
) {}
export class WeakPassword extends problem(
  400,
  'weak_password',
  'Choose another password. This one is very common, or consists of your email or our name.',
) {}
export class ProviderNotFound extends problem(404, 'provider_not_found', 'This sign-in provider is not configured.') {}
export class ProviderSignInFailed extends problem(
  400,
  'provider_sign_in_failed',
  'Signing in with the provider failed. Try again, or sign in another way.',
) {}
export class SignInRefused extends problem(400, 'sign_in_refused', 'Signing in was refused.') {}
export class EmailAlreadyVerified extends problem(400, 'email_already_verified', 'This email is already verified.') {}

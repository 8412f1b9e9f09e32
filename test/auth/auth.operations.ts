import { everyone, users, type Expectation, unique } from '../support/expectations.js';
import { PASSWORD } from '../support/people.js';

export const operations: Record<string, Expectation> = {
  signUp: {
    access: everyone(200),
    body: () => ({ email: `${unique('new')}@example.com`, name: 'New Person', password: PASSWORD }),
    foreign: { email: ({ email }) => [email] },
    reveals: { 'body.email': 'an address has one account; docs of the sign-up say so' },
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
  signIn: {
    access: everyone(401),
    body: ({ email }) => ({ email, password: PASSWORD }),
    foreign: { email: ({ email }) => [email] },
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
  signInWithProvider: {
    access: everyone(200),
    body: () => ({ provider: 'google', disableRedirect: true }),
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
  finishProviderSignIn: {
    access: everyone(302),
    path: { provider: 'google' },
  },
  showSignInError: { access: everyone(400) },
  linkProvider: {
    access: users(200),
    body: () => ({ provider: 'google', disableRedirect: true }),
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
  signOut: {
    access: everyone(200),
    body: () => ({}),
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
  sendVerificationEmail: {
    access: everyone(200),
    body: ({ email }) => ({ email }),
    foreign: { email: ({ email }) => [email] },
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
  verifyEmail: {
    access: everyone(400),
    query: ({ token }) => ({ token }),
  },
  submitEmailVerification: {
    access: everyone(400),
    body: ({ token }) => ({ token, password: PASSWORD }),
    foreign: { token: ({ token }) => [token] },
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
  rejectSignUp: {
    access: everyone(400),
    body: ({ token }) => ({ token }),
    foreign: { token: ({ token }) => [token] },
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
  requestPasswordReset: {
    access: everyone(200),
    body: ({ email }) => ({ email }),
    foreign: { email: ({ email }) => [email] },
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
  openPasswordReset: {
    access: everyone(302),
    query: () => ({ callbackURL: '/reset' }),
  },
  resetPassword: {
    access: everyone(400),
    body: ({ token }) => ({ token, newPassword: PASSWORD }),
    foreign: { token: ({ token }) => [token] },
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
  changePassword: {
    access: users(400),
    body: () => ({ currentPassword: PASSWORD, newPassword: `${PASSWORD} 2` }),
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
  changeEmail: {
    access: users(200),
    body: () => ({ newEmail: `${unique('changed')}@example.com` }),
    foreign: { newEmail: ({ email }) => [email] },
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
  confirmEmailChange: {
    access: everyone(400),
    query: ({ token }) => ({ token }),
  },
  submitEmailChange: {
    access: everyone(400),
    body: ({ token }) => ({ token, password: PASSWORD }),
    foreign: { token: ({ token }) => [token] },
    audit: { none: 'written by the auth adapter (test/auth/auth-audit.e2e-spec.ts)' },
  },
};

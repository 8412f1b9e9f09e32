import { applyDecorators, SetMetadata } from '@nestjs/common';
import { Problems } from '../common/api-problems.js';
import { ServiceUnavailable } from '../common/common.errors.js';
import {
  AmbiguousCredentials,
  InvalidCredentials,
  OperatorOnly,
  RateLimited,
  SignedOut,
  UntrustedOrigin,
  UserSuspended,
} from './access.errors.js';

export const ACCESS = 'access';
export const LIMITS = 'limits';

/** Who may call a route. A route that declares none is refused. */
export type Access = 'public' | 'signed-in' | 'operator';

/** Which allowances a call spends: `signIn` and `mail` count by the email in the body besides the address. */
export type Limit = 'api' | 'auth' | 'signIn' | 'mail';

/** Anybody, signed in or not. */
export const Public = (): MethodDecorator => applyDecorators(SetMetadata(ACCESS, 'public' satisfies Access));

/** Every signed-in user, about what is their own. */
export const SignedIn = (): MethodDecorator =>
  applyDecorators(
    SetMetadata(ACCESS, 'signed-in' satisfies Access),
    Problems(AmbiguousCredentials, SignedOut, InvalidCredentials, UserSuspended, UntrustedOrigin, RateLimited, ServiceUnavailable),
  );

/** Operators of this installation: made by `npm run cli -- operator grant`, never over the API. */
export const Operator = (): MethodDecorator =>
  applyDecorators(
    SetMetadata(ACCESS, 'operator' satisfies Access),
    Problems(
      AmbiguousCredentials,
      SignedOut,
      InvalidCredentials,
      OperatorOnly,
      UserSuspended,
      UntrustedOrigin,
      RateLimited,
      ServiceUnavailable,
    ),
  );

/** Spends these allowances instead of the general one; none for what is called by machines of the operator. */
export const Limited = (...limits: Limit[]): MethodDecorator & ClassDecorator => SetMetadata(LIMITS, limits);

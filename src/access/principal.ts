import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Request } from 'express';

/** Who is calling, as the guard found out. */
export interface Principal {
  userId: string;
  sessionId: string;
  operator: boolean;
}

interface WithPrincipal extends Request {
  principal?: Principal;
}

/** Attaches the caller to the request. */
export function setPrincipal(request: Request, principal: Principal): void {
  (request as WithPrincipal).principal = principal;
}

/** The caller, for a handler that declares `@SignedIn()` or more. */
export const Caller = createParamDecorator((_: unknown, context: ExecutionContext): Principal => {
  const { principal } = context.switchToHttp().getRequest<WithPrincipal>();
  if (principal === undefined) throw new Error('@Caller() on a route that lets in callers who are not signed in');
  return principal;
});

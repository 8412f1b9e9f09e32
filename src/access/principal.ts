import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Request } from 'express';
import type { ActorKind } from '../audit/audit-log.table.js';
import { clientAddressOf } from '../platform/http/network-addresses.js';
import { requestIdOf } from '../platform/http/request-id.js';
import type { Role } from '../memberships/organization-memberships.table.js';

/** Who causes a change, for the audit log. */
export interface Actor {
  kind: ActorKind;
  /** Null for the system. */
  id: string | null;
  requestId: string | null;
  ipAddress: string | null;
}

/** Which request caused something, and from where. */
export function originOf(request: Request): Pick<Actor, 'requestId' | 'ipAddress'> {
  return { requestId: requestIdOf(request), ipAddress: clientAddressOf(request) ?? null };
}

/** What the system does by itself: jobs, commands, providers' events. */
export const SYSTEM: Actor = { kind: 'system', id: null, requestId: null, ipAddress: null };

/** A signed-in user, as the guard found out. */
export interface Principal {
  userId: string;
  sessionId: string;
  operator: boolean;
  /** In the organization of the path; null for an operator who looks in. */
  role: Role | null;
  /** Whether the organization of the path exists, member or not. */
  organizationExists: boolean;
  actor: Actor;
}

/** An API key, as the guard found out. */
export interface KeyPrincipal {
  apiKeyId: string;
  organizationId: string;
  scopes: string[];
  actor: Actor;
}

interface WithPrincipal extends Request {
  principal?: Principal | KeyPrincipal;
}

/** Attaches the caller to the request. */
export function setPrincipal(request: Request, principal: Principal | KeyPrincipal): void {
  (request as WithPrincipal).principal = principal;
}

export function principalOf(request: Request): Principal | KeyPrincipal {
  const { principal } = request as WithPrincipal;
  if (principal === undefined) throw new Error('There is no caller on a route that lets in callers who are not signed in');
  return principal;
}

/** The signed-in user who calls; a route with `@Scopes()` may meet an API key instead and must not use it. */
export const Caller = createParamDecorator((_: unknown, context: ExecutionContext): Principal => {
  const principal = principalOf(context.switchToHttp().getRequest<Request>());
  if ('apiKeyId' in principal) throw new Error('@Caller() on a route that lets in API keys');
  return principal;
});

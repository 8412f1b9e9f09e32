import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Request } from 'express';
import type { ActorKind } from '../audit/audit-log.table.js';
import { clientAddressOf } from '../platform/http/network-addresses.js';
import { requestIdOf } from '../platform/http/request-id.js';
import type { Role } from '../memberships/organization-memberships.table.js';

/** The cause of a change, for the audit log. */
export interface Actor {
  kind: ActorKind;
  /** Null for the system. */
  id: string | null;
  requestId: string | null;
  ipAddress: string | null;
}

export function originOf(request: Request): Pick<Actor, 'requestId' | 'ipAddress'> {
  return { requestId: requestIdOf(request), ipAddress: clientAddressOf(request) ?? null };
}

/** The actor of jobs, commands and provider events. */
export const SYSTEM: Actor = { kind: 'system', id: null, requestId: null, ipAddress: null };

/** A signed-in user. */
export interface Principal {
  userId: string;
  sessionId: string;
  operator: boolean;
  /** The role in the organization of the path; null for an operator who reads it. */
  role: Role | null;
  organizationExists: boolean;
  actor: Actor;
}

export interface KeyPrincipal {
  apiKeyId: string;
  organizationId: string;
  scopes: string[];
  actor: Actor;
}

interface WithPrincipal extends Request {
  principal?: Principal | KeyPrincipal;
}

export function setPrincipal(request: Request, principal: Principal | KeyPrincipal): void {
  (request as WithPrincipal).principal = principal;
}

export function principalOf(request: Request): Principal | KeyPrincipal {
  const { principal } = request as WithPrincipal;
  if (principal === undefined) throw new Error('A public route has no caller');
  return principal;
}

/** The signed-in user. Not for a route with `@Scopes()`, because an API key may call it. */
export const Caller = createParamDecorator((_: unknown, context: ExecutionContext): Principal => {
  const principal = principalOf(context.switchToHttp().getRequest<Request>());
  if ('apiKeyId' in principal) throw new Error('@Caller() cannot be used on a route that admits API keys');
  return principal;
});

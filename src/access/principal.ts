import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Request } from 'express';
import type { ActorKind } from '../audit/audit-log.table.js';
import { clientAddressOf } from '../platform/http/network-addresses.js';
import { requestIdOf } from '../platform/http/request-id.js';
import type { Role } from '../memberships/organization-memberships.table.js';

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

export interface UserPrincipal {
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

/** The caller of a route that is not public. */
export type Principal = UserPrincipal | KeyPrincipal;

interface WithPrincipal extends Request {
  principal?: Principal;
}

export function setPrincipal(request: Request, principal: Principal): void {
  (request as WithPrincipal).principal = principal;
}

/** The caller as far as the guard knows it; undefined on public routes and without a valid credential. */
export function knownCallerOf(request: Request): Principal | undefined {
  return (request as WithPrincipal).principal;
}

export function principalOf(request: Request): Principal {
  const { principal } = request as WithPrincipal;
  if (principal === undefined) throw new Error('A public route has no caller');
  return principal;
}

/** Metadata key for the kind of caller that a handler accepts. The check at start reads it. */
export const CALLER_KIND = 'caller';
export type CallerKind = 'any' | 'user';

const principalParameter = createParamDecorator((_: unknown, context: ExecutionContext) =>
  principalOf(context.switchToHttp().getRequest<Request>()),
);

/** The user or API key that sent the request. Its `actor` goes into the audit log. */
export const Caller = (): ParameterDecorator => callerParameter('any');

/** The user who sent the request, on a route that accepts no API keys. */
export const CurrentUser = (): ParameterDecorator => callerParameter('user');

function callerParameter(kind: CallerKind): ParameterDecorator {
  return (controller, method, index) => {
    Reflect.defineMetadata(CALLER_KIND, kind, (controller as Record<string | symbol, object>)[method!]!);
    principalParameter()(controller, method, index);
  };
}

import type { TestApp } from './app.js';
import type { Person, Tenant } from './tenant-world.js';

/** What the shared checks expect of one operation. Each module's are in `test/<module>/<module>.operations.ts`. */
export interface Expectation {
  /** The status that each kind of caller gets. */
  access: Access;
  /** Path parameters that name no row of a tenant. */
  path?: Record<string, string>;
  /** A valid body. */
  body?: (values: Values) => object;
  /** Query parameters without which a call is invalid, or may be refused. */
  query?: (values: Values) => Record<string, string>;
  /** Values of body fields that can name something of another tenant. */
  foreign?: Record<string, ForeignValues>;
  /** Body fields whose taken values may be told from free ones (`body.slug`), and why. */
  reveals?: Record<string, string>;
  /** The audit entry of an operation that changes something, or why it writes none. */
  audit?: AuditExpectation | { none: string };
}

export type ForeignValues = (values: Values, tenant: { isDeleted: boolean }) => string[];

export const CALLERS = ['signedOut', 'outsider', 'member', 'admin', 'keyWithoutScope', 'keyWithScope', 'operator'] as const;
export type CallerName = (typeof CALLERS)[number];

/**
 * Members and keys call in their own tenant. What belongs to one person (a session, an account) is the member's;
 * invitations by id are the outsider's.
 */
export type Access = Record<CallerName, number>;

export interface AuditExpectation {
  action: string;
  target: (values: Values, response: { id?: string }, callerId: string) => string | undefined;
  changes: unknown;
  /** Null when the entry belongs to no organization; by default it belongs to the tenant of the request. */
  organization?: null | ((response: { id?: string }) => string);
  /** The admin, or an operator where admins may not. */
  caller?: CallerName;
  prepare?: (scene: { t: TestApp; tenant: Tenant; operator: Person }) => Promise<unknown>;
  /** Entries for what ends as a consequence. */
  consequences?: number;
}

/** What a request takes from the world it is sent into: `projectId` comes from a module's seed. */
export interface Values extends Record<string, string> {
  organizationId: string;
  slug: string;
  membershipId: string;
  userId: string;
  sessionId: string;
  accountId: string;
  email: string;
  name: string;
  token: string;
}

let count = 0;

/** A name that nothing else has. */
export function unique(label: string): string {
  count += 1;
  return `${label}-${process.pid}-${count}`;
}

export function everyone(status: number): Access {
  return {
    signedOut: status,
    outsider: status,
    member: status,
    admin: status,
    keyWithoutScope: status,
    keyWithScope: status,
    operator: status,
  };
}

/** Every user who is signed in. */
export function users(status: number): Access {
  return { ...everyone(status), signedOut: 401, keyWithoutScope: 403, keyWithScope: 403 };
}

export function operators(status: number): Access {
  return { ...everyone(403), signedOut: 401, operator: status };
}

/** A user's own thing: to everyone else it does not exist. */
export function owner(caller: CallerName, status: number): Access {
  return { ...users(404), [caller]: status };
}

interface AlsoAllowed {
  /** Keys with the scope. */
  keys?: boolean;
  /** Operators who are no members: they may read. */
  operators?: boolean;
}

export function members(status: number, { keys = false, operators: mayRead = false }: AlsoAllowed = {}): Access {
  return {
    signedOut: 401,
    outsider: 404,
    member: status,
    admin: status,
    keyWithoutScope: 403,
    keyWithScope: keys ? status : 403,
    operator: mayRead ? status : 404,
  };
}

export function admins(status: number, also: AlsoAllowed = {}): Access {
  return { ...members(status, also), member: 403 };
}

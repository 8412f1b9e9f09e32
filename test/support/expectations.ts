import type { TestApp } from './app.js';
import type { Person, Tenant } from './tenant-world.js';

/** What the shared checks expect of one operation. Each module's are in `test/<module>/<module>.operations.ts`. */
export interface Expectation {
  /** The status that each kind of caller gets. */
  access: Access;
  /** Path parameters that identify no row of a tenant. */
  path?: Record<string, string>;
  /** A valid body. */
  body?: (values: Values) => object;
  /** Query parameters without which a call is invalid or may be refused. */
  query?: (values: Values) => Record<string, string>;
  /** Values of body fields that may identify a row of another tenant. */
  foreign?: Record<string, ForeignValues>;
  /** Body fields (`body.slug`) for which the response reveals that a value is taken, and why. */
  reveals?: Record<string, string>;
  /** The audit entry of an operation that changes something, or why it writes none. */
  audit?: AuditExpectation | { none: string };
}

export type ForeignValues = (values: Values, tenant: { isDeleted: boolean }) => string[];

export const CALLERS = ['signedOut', 'outsider', 'member', 'admin', 'keyWithoutScope', 'keyWithScope', 'operator'] as const;
export type CallerName = (typeof CALLERS)[number];

/**
 * Members and keys call in their own tenant. Rows of one user (a session, an account) belong to the member; invitations by id belong to the
 * outsider.
 */
export type Access = Record<CallerName, number>;

export interface AuditExpectation {
  action: string;
  target: (values: Values, response: { id?: string }, callerId: string) => string | undefined;
  changes: unknown;
  /** Null for an entry without an organization; the default is the tenant of the request. */
  organization?: null | ((response: { id?: string }) => string);
  /** The admin, or an operator for operations that admins may not call. */
  caller?: CallerName;
  prepare?: (scene: { t: TestApp; tenant: Tenant; operator: Person }) => Promise<unknown>;
  /** The number of entries for consequences of the operation. */
  consequences?: number;
}

/** The values that a request may use; `projectId` comes from a module's seed. */
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

/** A unique name. */
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

/** Every user with a session. */
export function users(status: number): Access {
  return { ...everyone(status), signedOut: 401, keyWithoutScope: 403, keyWithScope: 403 };
}

export function operators(status: number): Access {
  return { ...everyone(403), signedOut: 401, operator: status };
}

/** A user's own row, which does not exist for others. */
export function owner(caller: CallerName, status: number): Access {
  return { ...users(404), [caller]: status };
}

interface AlsoAllowed {
  /** Keys with the scope. */
  keys?: boolean;
  /** Operators without a membership, who may read. */
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

import { globSync, readFileSync } from 'node:fs';
import { newId } from '../../src/platform/crypto/ids.js';
import type { Operation } from './api.js';
import { collect, expectedFile } from './collect.js';
import { type CallerName, CALLERS, type Expectation, unique, type Values } from './expectations.js';
import type { Person, Tenant } from './tenant-world.js';

/** The expectations of every module for its operations, by operationId. */
export const OPERATIONS = await collectOperations();

async function collectOperations(): Promise<ReadonlyMap<string, Expectation>> {
  const all = new Map<string, Expectation>();
  for (const [file, { operations }] of await collect<{ operations: Record<string, Expectation> }>('operations')) {
    for (const [id, expectation] of Object.entries(operations)) {
      if (all.has(id)) throw new Error(`${file} describes ${id}, which another file describes already`);
      all.set(id, expectation);
    }
  }
  return all;
}

/** @throws {Error} that names the file to add the operation to */
export function expectationOf(id: string): Expectation {
  const expectation = OPERATIONS.get(id);
  if (expectation === undefined) throw new Error(missing(id));
  return expectation;
}

/** The operations of the document that no module describes, and where to describe them. */
export function undescribed(operations: Operation[]): string[] {
  return operations.filter(({ id }) => !OPERATIONS.has(id)).map(({ id }) => missing(id));
}

function missing(id: string): string {
  return `${id} has no expectation: add it to ${fileFor(id, 'operations')}`;
}

/** The file that extends a shared check for an operation. */
function fileFor(id: string, kind: string): string {
  const controllers = globSync('src/**/*.controller.ts');
  const home = controllers.find((file) => new RegExp(`^  (?:async )?${id}\\(`, 'm').test(readFileSync(file, 'utf8')));
  return home === undefined ? `the *.${kind}.ts file of its module` : expectedFile(home, kind);
}

export function statusFor(id: string, caller: CallerName): number {
  return expectationOf(id).access[caller];
}

export function statusesOf(id: string): number[] {
  return CALLERS.map((caller) => statusFor(id, caller));
}

export function bodyOf(id: string, values: Values): object | undefined {
  return expectationOf(id).body?.(values);
}

export function queryOf(id: string, values: Values): Record<string, string> | undefined {
  return expectationOf(id).query?.(values);
}

/** The values of a tenant: everything that a well-informed caller could send. */
export function valuesOf(tenant: Tenant, person: Person = tenant.member): Values {
  return {
    ...tenant.values,
    membershipId: tenant.memberships.spare,
    token: tenant.invitationToken,
    organizationId: tenant.organization.id,
    slug: tenant.organization.slug,
    userId: person.id,
    sessionId: person.otherSessionId,
    accountId: person.accountId,
    email: person.email,
    name: person.name,
  };
}

/** Well-formed values that match no row. */
export function unknownValues({ values }: Tenant): Values {
  const word = unique('nobody');
  const ids = Object.keys(values).filter((name) => name.endsWith('Id'));
  return {
    ...Object.fromEntries(ids.map((name) => [name, newId()])),
    organizationId: newId(),
    slug: word,
    membershipId: newId(),
    userId: newId(),
    sessionId: newId(),
    accountId: newId(),
    email: `${word}@example.com`,
    name: word,
    token: `unknown${newId()}`,
  };
}

/** The value of each path parameter. */
export function pathValues(
  { id, path, pathParameters }: Pick<Operation, 'id' | 'path' | 'pathParameters'>,
  values: Values,
): Record<string, string> {
  return Object.fromEntries(
    pathParameters.map((name) => {
      const value = expectationOf(id).path?.[name] ?? values[name];
      if (value === undefined) throw new Error(`No value for {${name}} of ${path}: ${fileFor(id, 'seed')} must return it`);
      return [name, value];
    }),
  );
}

/** The path parameters that identify a row of a tenant. */
export function tenantParameters({ id, pathParameters }: Operation): string[] {
  return pathParameters.filter((name) => expectationOf(id).path?.[name] === undefined);
}

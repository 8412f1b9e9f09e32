import { declaredScopes } from '../../../src/access/scopes.js';
import type { Seeded } from '../../simulators/seeded.js';
import type { TestDatabase } from '../database.js';
import type { Values as Ids } from '../expectations.js';
import { bodyOf, queryOf, unknownValues, valuesOf } from '../operations.js';
import { createKey, createPerson, createTenant, type Person, type Tenant } from '../tenant-world.js';

export const FUZZ_ROLES = [
  'signed out',
  'unproved user',
  'outsider',
  'member',
  'admin',
  'operator',
  'suspended user',
  'key with every scope',
  'key without scopes',
] as const;
export type FuzzRole = (typeof FUZZ_ROLES)[number];

/** A tenant with rows in every table, and a caller in every role. Each world is new, so requests may destroy anything. */
export class FuzzWorld {
  private constructor(
    private readonly tenant: Tenant,
    private readonly operator: Person,
    private readonly keys: { full: string; bare: string },
  ) {}

  static async create(db: TestDatabase): Promise<FuzzWorld> {
    const tenant = await createTenant(db, 'fuzz');
    const [operator, full, bare] = await Promise.all([
      createPerson(db, 'operator', { operator: true }),
      createKey(db, tenant, declaredScopes()),
      createKey(db, tenant, []),
    ]);
    return new FuzzWorld(tenant, operator, { full: full.key, bare: bare.key });
  }

  /** Ids that mostly exist. */
  ids(chance: Seeded): Ids {
    const { tenant } = this;
    if (chance.chance(0.1)) return unknownValues(tenant);
    return valuesOf(tenant, chance.pick([tenant.member, tenant.spare, tenant.invited, tenant.squatter, tenant.admin]));
  }

  body(operationId: string, ids: Ids): object | undefined {
    return bodyOf(operationId, ids);
  }

  query(operationId: string, ids: Ids): Record<string, string> {
    return queryOf(operationId, ids) ?? {};
  }

  /** The credentials of a role: mostly a token, otherwise a cookie or an invalid value. */
  credentials(role: FuzzRole, chance: Seeded): [string, string][] {
    if (chance.chance(0.02))
      return [['authorization', chance.pick(['Bearer', 'Bearer a.b', 'Bearer a.b.c', 'Basic YTpi', 'Bearer \u00ff'])]];
    if (chance.chance(0.01)) return [['x-api-key', chance.pick(['', 'tk_x', 'x'.repeat(2000)])]];
    if (role === 'signed out') return [];
    if (role === 'key with every scope') return [['x-api-key', this.keys.full]];
    if (role === 'key without scopes') return [['x-api-key', this.keys.bare]];
    const person = this.person(role);
    if (chance.chance(0.02)) return [...entriesOf(person.auth), ['x-api-key', this.keys.full]];
    if (chance.chance(0.8)) return entriesOf(person.auth);
    const origin = chance.pick(['http://localhost:3000', 'https://evil.test', 'null', '']);
    return [['cookie', person.cookie], ...(chance.chance(0.8) ? [['origin', origin] as [string, string]] : [])];
  }

  private person(role: Exclude<FuzzRole, 'signed out' | 'key with every scope' | 'key without scopes'>): Person {
    const { tenant, operator } = this;
    return {
      'unproved user': tenant.squatter,
      outsider: tenant.invited,
      member: tenant.member,
      admin: tenant.admin,
      operator,
      'suspended user': tenant.suspended,
    }[role];
  }
}

function entriesOf(headers: Record<string, string>): [string, string][] {
  return Object.entries(headers);
}

import { collect } from './collect.js';
import type { TestDatabase } from './database.js';
import type { Person } from './tenant-world.js';

/** The tenant that a seed writes into. */
export interface SeededTenant {
  organization: { id: string; slug: string; name: string };
  admin: Person;
  member: Person;
}

/** The rows of a tenant that a module adds to the shared checks. */
export interface SeededRows {
  /** Values for path parameters, by name. */
  values: Record<string, string>;
  /** Values that no outsider may see. */
  secrets: string[];
}

/** Writes a module's rows for a tenant: `export const seed` in `test/<module>/<module>.seed.ts`. */
export type Seed = (db: TestDatabase, tenant: SeededTenant) => Promise<SeededRows>;

const SEEDS = (await collect<{ seed: Seed }>('seed')).map(([, { seed }]) => seed);

export async function writeSeeds(db: TestDatabase, tenant: SeededTenant): Promise<SeededRows> {
  const written = await Promise.all(SEEDS.map((seed) => seed(db, tenant)));
  return {
    values: Object.assign({}, ...written.map(({ values }) => values)) as Record<string, string>,
    secrets: written.flatMap(({ secrets }) => secrets),
  };
}

import { drizzle } from 'drizzle-orm/node-postgres';
import { newId } from '../../../src/platform/crypto/ids.js';
import type { Seed } from '../../../test/support/seeds.js';
import { projects } from '../projects.table.js';

/** Two rows, so that the list has a second page. */
export const seed: Seed = async (db, { organization }) => {
  const rows = [newId(), newId()].map((id) => ({ id, organizationId: organization.id, name: `project-${id}` }));
  await drizzle(db.pool).insert(projects).values(rows);
  return { values: { projectId: rows[0]!.id }, secrets: rows.flatMap(({ id, name }) => [id, name]) };
};

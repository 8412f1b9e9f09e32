import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { type Build, buildOf } from '../../../bench/support/build.js';
import { pendingMigrations } from '../../../src/platform/database/migrations.js';

const NEWEST = 3;

/** The commit before the three newest migrations were added. */
export function refBeforeNewestMigrations(): string {
  const added = git('log', '--no-renames', '--diff-filter=A', '--format=%H', '--', 'drizzle/*.sql').split('\n');
  const first = added[NEWEST - 1];
  if (first === undefined) throw new Error('The history is too short for an older version: name one with --old, or fetch all commits');
  return git('rev-parse', `${first}~1`);
}

/** Builds an older version, with at least one migration less than this one. */
export async function buildOlderVersion(ref: string): Promise<Build> {
  console.log(`building ${ref} …`);
  const build = buildOf(ref);
  const tags = async (root: string) =>
    (await pendingMigrations(() => Promise.resolve({ rows: [] }), path.join(root, 'drizzle'))).map(({ tag }) => tag);
  const known = await tags(build.root);
  const newer = (await tags('.')).filter((tag) => !known.includes(tag));
  console.log(`old version ${git('log', '-1', '--format=%h %s', ref)}; its database lacks ${newer.join(', ') || 'nothing'}`);
  if (newer.length > 0) return build;
  build.remove();
  throw new Error(`No migration lies between ${ref} and this version: name an older one with --old`);
}

function git(...args: string[]): string {
  return execFileSync('git', args, { encoding: 'utf8' }).trim();
}

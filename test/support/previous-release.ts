import { execFileSync } from 'node:child_process';
import { refBeforeNewestMigrations } from '../faults/stage/versions.js';

/** The newest tag `v…` before this commit; before the first release, the commit before the three newest migrations. Needs the history. */
export function previousRelease(): string {
  if (git('rev-parse', '--is-shallow-repository') === 'true') git('fetch', '--quiet', '--unshallow', '--tags');
  return git('describe', '--tags', '--abbrev=0', '--match', 'v*', 'HEAD~1') ?? refBeforeNewestMigrations();
}

function git(...given: string[]): string | undefined {
  try {
    return execFileSync('git', given, { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return undefined;
  }
}

import { execFileSync } from 'node:child_process';
import { refBeforeNewestMigrations } from '../faults/stage/versions.js';

/** The newest tag `v…` before this commit; before the first release, the commit before the three newest migrations. */
export function previousRelease(): string {
  try {
    return execFileSync('git', ['describe', '--tags', '--abbrev=0', '--match', 'v*', 'HEAD~1'], { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return refBeforeNewestMigrations();
  }
}

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A working copy with its build in `dist/`. */
export interface Build {
  root: string;
  remove(): void;
}

export const ownBuild: Build = { root: ROOT, remove: () => undefined };

/** Builds a git ref in a temporary worktree. The installed packages are shared if the lock files are equal. */
export function buildOf(ref: string): Build {
  const root = path.join(mkdtempSync(path.join(tmpdir(), 'tenantry-before-')), 'tenantry');
  const run = (command: string, given: string[], cwd = root) =>
    execFileSync(command, given, { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
  const remove = () => {
    run('git', ['worktree', 'remove', '--force', root], ROOT);
    rmSync(path.dirname(root), { recursive: true, force: true });
  };
  run('git', ['worktree', 'add', '--detach', root, ref], ROOT);
  try {
    const lockOf = (folder: string) => readFileSync(path.join(folder, 'package-lock.json'), 'utf8');
    if (lockOf(root) === lockOf(ROOT)) symlinkSync(path.join(ROOT, 'node_modules'), path.join(root, 'node_modules'));
    else run('npm', ['ci', '--no-audit', '--no-fund']);
    run('npm', ['run', 'build']);
  } catch (error) {
    remove();
    throw error;
  }
  return { root, remove };
}

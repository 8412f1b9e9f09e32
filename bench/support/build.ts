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

/** Builds a git ref in a temporary worktree. The installed packages are shared if they are all that it needs, in its versions. */
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
    const installed = versionsIn(ROOT);
    if (Object.entries(versionsIn(root)).every(([at, version]) => installed[at] === version))
      symlinkSync(path.join(ROOT, 'node_modules'), path.join(root, 'node_modules'));
    else run('npm', ['ci', '--no-audit', '--no-fund']);
    run('npm', ['run', 'build']);
  } catch (error) {
    remove();
    throw error;
  }
  return { root, remove };
}

function versionsIn(root: string): Record<string, string | undefined> {
  const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as Lock;
  return Object.fromEntries(Object.entries(packages).flatMap(([at, { version }]) => (at === '' ? [] : [[at, version]])));
}

interface Lock {
  packages: Record<string, { version?: string }>;
}

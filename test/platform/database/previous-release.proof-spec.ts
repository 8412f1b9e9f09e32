import { spawn } from 'node:child_process';
import { cpSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { type Build, buildOf } from '../../../bench/support/build.js';
import { previousRelease } from '../../support/previous-release.js';

/** Members, usage and payments, read and written. */
const SMOKE = ['memberships/memberships', 'usage/usage.e2e', 'subscriptions/payments'];

interface JestResults {
  numPassedTests: number;
  testResults: { name: string; message: string }[];
}

/** Runs the tests of the previous release over its own build, on a database with the migrations of this one. */
describe('the previous release', () => {
  let previous: Build | undefined;
  afterAll(() => previous?.remove());

  it('works on the migrated database, so that a deployment can be rolled back', async () => {
    previous = buildOf(previousRelease());
    const { root } = previous;
    rmSync(path.join(root, 'drizzle'), { recursive: true });
    cpSync('drizzle', path.join(root, 'drizzle'), { recursive: true });

    const results = path.join(path.dirname(root), 'results.json');
    const patterns = SMOKE.map((pattern) => `/test/${pattern}`);
    const args = ['node_modules/jest/bin/jest.js', '--json', '--outputFile', results, '--testPathPatterns', ...patterns];
    const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], DATABASE_URL: process.env['TEST_SERVER_URL'] };
    const child = spawn(process.execPath, ['--no-warnings', ...args, '--maxWorkers=1'], { cwd: root, env, stdio: 'ignore' });
    const code = await new Promise((resolve) => child.once('close', resolve));
    const { numPassedTests, testResults } = JSON.parse(readFileSync(results, 'utf8')) as JestResults;
    expect(testResults.map(({ message }) => message).filter((message) => message !== '')).toEqual([]);
    expect(code).toBe(0);
    expect(numPassedTests).toBeGreaterThan(60);
  }, 600_000);
});

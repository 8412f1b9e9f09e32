import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { endProcesses, processesIn, run } from '../support/processes.js';

const LINES = [
  '  - PORT must be a port, from 0 to 65535',
  '  - FILE: plans.pro.limits.seats must not be negative',
  '  - FILE: plans.gold is unknown',
  '  - BILLING_PRODUCTS polar:p1=silver: there is no plan silver',
];

describe('invalid plans', () => {
  let folder: string;
  let file: string;

  beforeAll(() => {
    folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'tenantry-plans-')));
    file = path.join(folder, 'plans.json');
    for (const part of ['node_modules', 'dist', 'drizzle', 'package.json']) symlinkSync(path.resolve(part), path.join(folder, part));
    const content = JSON.parse(readFileSync('plans.json', 'utf8')) as { plans: Record<string, { limits: { seats: number } }> };
    content.plans['gold'] = structuredClone(content.plans['pro']!);
    content.plans['pro']!.limits.seats = -1;
    writeFileSync(file, JSON.stringify(content));
  });
  afterEach(endProcesses);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each([
    ['npm start', 'main.js' as const, []],
    ['a command', 'cli/cli.js' as const, ['operator', 'grant', 'ada@example.com']],
    ['a command without a database', 'cli/cli.js' as const, ['webhooks', 'send', 'clerk', 'user.created']],
  ])('end %s with exit code 1 and every error with file and position, before anything starts', async (_, program, words) => {
    // A path relative to the working directory, as an editor would write it.
    const env = { PLANS_FILE: 'plans.json', BILLING_PRODUCTS: 'polar:p1=silver', PORT: 'http' };
    const one = run(program, words, { cwd: folder, env });
    expect(await one.ended).toEqual({ code: 1, signal: null });
    expect(one.output().trimEnd().split('\n')).toEqual(['The configuration is wrong:', ...LINES.map((line) => line.replace('FILE', file))]);
    expect(existsSync(path.join(folder, '.data/postgres'))).toBe(false);
    expect(processesIn(folder)).toEqual([]);
  });
});

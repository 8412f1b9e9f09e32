import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '../../src/platform/database/embedded/free-port.js';
import { testEnvironment } from '../support/app.js';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/database.js';
import { endProcesses, type Process, ready, run, startServer } from '../support/processes.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

const CODE = ['node_modules', 'dist', 'drizzle', 'package.json', 'plans.json'];

/** What a failed start has printed beside its log: one sentence. */
async function sentenceOf(one: Process): Promise<string> {
  expect(await one.ended).toEqual({ code: 1, signal: null });
  const lines = one.output().split('\n');
  expect(lines.filter((line) => /^ +at /.test(line))).toEqual([]);
  const [sentence = '', ...more] = lines.filter((line) => line !== '' && !line.startsWith('{') && !line.startsWith('['));
  expect(more).toEqual([]);
  return sentence;
}

describe('a start that fails', () => {
  let db: TestDatabase;
  const folders: string[] = [];
  beforeAll(async () => {
    db = await createTestDatabase();
  });
  afterEach(endProcesses);
  afterAll(async () => {
    await db.drop();
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });

  function emptyFolder(): string {
    const folder = mkdtempSync(path.join(tmpdir(), 'tenantry-failed-'));
    folders.push(folder);
    return folder;
  }

  function projectFolder(): string {
    const folder = emptyFolder();
    for (const part of CODE) symlinkSync(path.resolve(part), path.join(folder, part));
    return folder;
  }

  const startOn = (url: string, more: Record<string, string> = {}) =>
    startServer(url, { NODE_ENV: 'production', DATABASE_URL: url, DATABASE_DIRECT_URL: url, ...more });
  const changed = (change: (url: URL) => void) => {
    const url = new URL(db.url);
    change(url);
    return url.href;
  };

  it.each(['main.js', 'cli/cli.js'] as const)('names the Node that %s needs, before any package is imported', async (program) => {
    const folder = emptyFolder();
    mkdirSync(path.join(folder, 'dist/cli'), { recursive: true });
    for (const file of [program, 'cli/required-node.js']) cpSync(path.resolve('dist', file), path.join(folder, 'dist', file));
    cpSync('package.json', path.join(folder, 'package.json'));
    const older = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '24.6.1' } })`;
    const one = run(program, [], { cwd: folder, env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(older)}` } });
    expect(await sentenceOf(one)).toMatch(/^Tenantry needs Node 24\.7\.0 or newer, and this is Node 24\.6\.1\. /);
  });

  it('says that the database is unavailable, once it has waited', async () => {
    const url = `postgres://postgres@127.0.0.1:${await freePort()}/nothing`;
    expect(await sentenceOf(await startOn(url))).toMatch(/^The database is unavailable: connect ECONNREFUSED 127\.0\.0\.1:\d+$/);
    const waiting = await startOn(url, { DATABASE_WAIT_SECONDS: '1' });
    expect(await sentenceOf(waiting)).toMatch(/^The database is unavailable: /);
    const lines = waiting.log().filter(({ msg }) => msg === 'The database is unavailable. Waiting up to 1 s');
    expect(lines).toMatchObject([{ level: 40, reason: expect.stringContaining('ECONNREFUSED') }]);
  });

  it('waits for a database that comes later', async () => {
    const { hostname: host, port } = new URL(db.url);
    const proxy = await startTcpProxy({ host, port: Number(port) });
    await proxy.cut();
    const through = changed((url) => (url.host = `127.0.0.1:${proxy.port}`));
    const one = await startOn(through, { DATABASE_WAIT_SECONDS: '60' });
    await until(() => one.output().includes('Waiting up to 60 s'));
    await proxy.resume();
    await ready(one);
    one.kill('SIGTERM');
    expect(await one.ended).toEqual({ code: 0, signal: null });
    await proxy.close();
  });

  it('ends at once at a signal while it waits', async () => {
    const one = await startOn(`postgres://postgres@127.0.0.1:${await freePort()}/nothing`, { DATABASE_WAIT_SECONDS: '600' });
    await until(() => one.output().includes('Waiting up to 600 s'));
    one.kill('SIGTERM');
    expect(await one.ended).toEqual({ code: 0, signal: null });
  });

  it('says what the database refused, without waiting', async () => {
    const patient = { DATABASE_WAIT_SECONDS: '600' };
    const wrongPassword = await startOn(
      changed((url) => (url.password = 'wrong')),
      patient,
    );
    const missing = await startOn(
      changed((url) => (url.pathname = '/missing')),
      patient,
    );
    expect(await sentenceOf(wrongPassword)).toMatch(/^The database refused: password authentication failed for user "\w+"$/);
    expect(await sentenceOf(missing)).toBe('The database refused: database "missing" does not exist');
  });

  it('says that a role without rights cannot migrate', async () => {
    const empty = await createEmptyDatabase();
    const env = testEnvironment(empty.url);
    const one = await startServer(empty.url, { NODE_ENV: 'production', DATABASE_DIRECT_URL: env['DATABASE_URL']! });
    expect(await sentenceOf(one)).toMatch(/^The database refused: permission denied for database \w+$/);
    await empty.drop();
  });

  it('says that it cannot listen, and does not blame the database', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    expect(await sentenceOf(await startServer(db.url, { PORT: String(port) }))).toBe(
      `Port ${port} is in use. Stop the program that uses it, or set PORT to another.`,
    );
    await new Promise((resolve) => other.close(resolve));
    expect(await sentenceOf(await startServer(db.url, { HOST: '192.0.2.1' }))).toMatch(
      /^The server cannot listen on 192\.0\.2\.1, port \d+ \(.*EADDRNOTAVAIL.*\)\. Correct HOST or PORT\.$/,
    );
    expect(await sentenceOf(await startServer(db.url, { HOST: 'nowhere.invalid' }))).toMatch(
      /^The server cannot listen on nowhere\.invalid, /,
    );
  });

  it('says that its data folder cannot be used', async () => {
    const folder = projectFolder();
    writeFileSync(path.join(folder, '.data'), '');
    const one = run('main.js', [], { cwd: folder, env: { PORT: String(await freePort()) } });
    expect(await sentenceOf(one)).toMatch(new RegExp(`^The data folder ${folder}/\\.data cannot be used: E\\w+: .*$`));
  });

  it('says that its data folder belongs to somebody else', async () => {
    if (process.getuid?.() !== 0) return;
    const folder = projectFolder();
    chmodSync(folder, 0o755);
    // What root made, an unprivileged user cannot write.
    const one = run('main.js', [], { cwd: folder, env: { PORT: String(await freePort()), HOME: folder }, uid: 65_534, gid: 65_534 });
    expect(await sentenceOf(one)).toMatch(/\.data cannot be used: EACCES: permission denied, mkdir /);
  });

  it('does not quote secrets that it cannot read', async () => {
    const folder = projectFolder();
    mkdirSync(path.join(folder, '.data'));
    writeFileSync(path.join(folder, '.data/secrets.json'), '{"AUTH_SECRET":"half a sec');
    const one = run('main.js', [], { cwd: folder, env: { PORT: String(await freePort()) } });
    expect(await sentenceOf(one)).toBe(
      `${folder}/.data/secrets.json is not valid JSON. Restore it, or remove the folder to begin with new data.`,
    );
  });
});

describe('the entries of the program', () => {
  it('import nothing statically but the check of Node, which imports only Node', () => {
    const importsOf = (file: string) => [...readFileSync(file, 'utf8').matchAll(/^import .*?'(.+)';$/gm)].map(([, name]) => name);
    expect(importsOf('dist/main.js')).toEqual(['./cli/required-node.js']);
    expect(importsOf('dist/cli/cli.js')).toEqual(['./required-node.js']);
    expect(importsOf('dist/cli/required-node.js')).toEqual(['node:fs']);
  });
});

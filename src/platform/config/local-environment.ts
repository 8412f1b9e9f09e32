import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Where a development machine keeps its database, secrets and demo credentials. */
export const DATA_DIRECTORY = path.resolve('.data');

/** The products of example events on a development machine. */
export const EXAMPLE_PRODUCTS = { polar: 'example_pro', dodo: 'example_business' };

export interface LocalSecrets {
  AUTH_SECRET: string;
  ENCRYPTION_KEYS: string;
  CLERK_WEBHOOK_SIGNING_SECRET: string;
  POLAR_WEBHOOK_SECRET: string;
  DODO_PAYMENTS_WEBHOOK_KEY: string;
  databasePassword: string;
}

/** Makes the development secrets on the first start and reads them on every later one. */
export function localSecrets(): LocalSecrets {
  const file = path.join(DATA_DIRECTORY, 'secrets.json');
  if (!existsSync(file)) {
    const made = writeBeside(file, newSecrets());
    try {
      // A link never replaces a file: of two first starts at once, both read the same secrets.
      linkSync(made, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      rmSync(made);
    }
  }
  const kept = readSecrets(file);
  const secrets = { ...newSecrets(), ...kept };
  // An older version wrote fewer of them.
  if (Object.keys(kept).length < Object.keys(secrets).length) writePrivateFile(file, secrets);
  return secrets;
}

function readSecrets(file: string): Partial<LocalSecrets> {
  const text = readFileSync(file, 'utf8');
  try {
    return JSON.parse(text) as Partial<LocalSecrets>;
  } catch {
    // Its own message would quote the secrets.
    throw new Error(`${file} is not valid JSON. Restore it, or remove the folder to begin with new data.`);
  }
}

function newSecrets(): LocalSecrets {
  return {
    AUTH_SECRET: randomBytes(32).toString('base64'),
    ENCRYPTION_KEYS: `local:${randomBytes(32).toString('base64')}`,
    CLERK_WEBHOOK_SIGNING_SECRET: webhookSecret(),
    POLAR_WEBHOOK_SECRET: webhookSecret(),
    DODO_PAYMENTS_WEBHOOK_KEY: webhookSecret(),
    databasePassword: randomBytes(24).toString('base64url'),
  };
}

function webhookSecret(): string {
  return `whsec_${randomBytes(24).toString('base64')}`;
}

/** Writes JSON that only the user of this process can read, completely or not at all. */
export function writePrivateFile(file: string, content: unknown): void {
  renameSync(writeBeside(file, content), file);
}

function writeBeside(file: string, content: unknown): string {
  const beside = `${file}.${process.pid}`;
  mkdirSync(path.dirname(file), { recursive: true });
  rmSync(beside, { force: true });
  writeFileSync(beside, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
  return beside;
}

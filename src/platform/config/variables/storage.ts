import { encryptionKeys, secretText } from '../secret-types.js';
import { amount, folderUrl, postgresUrl, wholeNumber } from '../value-types.js';
import type { Variables } from '../variable.js';

export const DATABASE_VARIABLES = {
  databaseUrl: {
    name: 'DATABASE_URL',
    type: postgresUrl,
    required: true,
    whenUnset: 'the embedded server, in development',
    example: 'postgres://tenantry:password@localhost:5432/tenantry',
    description: 'PostgreSQL 15 or newer, directly or through a transaction pooler.',
  },
  databaseDirectUrl: {
    name: 'DATABASE_DIRECT_URL',
    type: postgresUrl,
    whenUnset: '`DATABASE_URL`',
    example: 'postgres://owner:password@localhost:5432/tenantry',
    description:
      'The same database for migrations: past the pooler, because they hold a lock on their connection, and as the owner of the tables.',
  },
  databasePoolSize: {
    name: 'DATABASE_POOL_SIZE',
    type: wholeNumber('connections', 2, 500),
    default: '10',
    description: 'Connections for transactions. A few more serve single statements and sign-in.',
  },
  databaseWaitSeconds: {
    name: 'DATABASE_WAIT_SECONDS',
    type: amount('seconds', 0, 3600),
    default: '30',
    description: 'How long a start waits for a database that is unavailable. Then it ends with a sentence and exit code 1.',
  },
  revocationJournal: {
    name: 'REVOCATION_JOURNAL',
    type: folderUrl,
    whenUnset: 'no journal',
    example: 'file:///var/lib/tenantry/journal',
    description:
      'A folder outside the database that records revocations and erasures, so that a restored backup does not undo them. All processes share it. Ids and hashes only.',
  },
} as const satisfies Variables;

export const SECRETS_VARIABLES = {
  authSecret: {
    name: 'AUTH_SECRET',
    type: secretText(32, ' (openssl rand -base64 32)'),
    required: true,
    secret: true,
    whenUnset: 'made once, in development',
    description: 'Signs session tokens and cursors, at least 32 characters. A new value signs everyone out.',
  },
  encryptionKeys: {
    name: 'ENCRYPTION_KEYS',
    type: encryptionKeys,
    required: true,
    secret: true,
    whenUnset: 'made once, in development',
    description:
      'Encrypts stored secrets: `id:key` pairs separated by commas, newest first, each key 32 bytes in base64. The first encrypts, all decrypt.',
  },
} as const satisfies Variables;

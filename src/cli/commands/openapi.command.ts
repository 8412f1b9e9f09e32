import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { documentedAccess } from '../../access/documented-access.js';
import { loadConfig } from '../../platform/config/config.js';
import { createDocument } from '../../platform/openapi/document.js';
import { createApp } from '../../create-app.js';
import { examples } from '../output.js';

export function addOpenapiCommands(program: Command): void {
  const openapi = program.command('openapi').description('Manage the OpenAPI document.').usage('<command>');
  openapi
    .command('write')
    .summary('Write openapi.json.')
    .description('Write openapi.json into the current directory. Needs no database and no configuration.')
    .addHelpText('after', examples('openapi write'))
    .action(writeDocument);
}

async function writeDocument(): Promise<void> {
  const config = loadConfig({
    // Nothing connects before the first query.
    DATABASE_URL: 'postgres://localhost/none',
    AUTH_SECRET: 'x'.repeat(32),
    ENCRYPTION_KEYS: `none:${Buffer.alloc(32).toString('base64')}`,
    LOG_LEVEL: 'silent',
  });
  const app = await createApp(config);
  writeFileSync('openapi.json', `${JSON.stringify(createDocument(app, documentedAccess), null, 2)}\n`);
  await app.close();
}

import type { Command } from 'commander';
import { grantAppRole } from '../../platform/database/app-role.js';
import { migrate } from '../../platform/database/migrations.js';
import { withDatabase } from '../environment.js';
import { examples, print } from '../output.js';

export function addDbCommands(program: Command): void {
  const db = program.command('db').description('Manage the database.').usage('<command>');
  db.command('migrate')
    .summary('Apply pending migrations.')
    .description('Apply pending migrations. A lock lets each run once, also when several processes start together.')
    .addHelpText('after', examples('db migrate'))
    .action(applyMigrations);
  db.command('grant-app')
    .summary('Give a database role the rights that the application needs.')
    .description(
      'Give a database role the rights that the application needs, and create the role if it does not exist. It may read and write rows, but owns no table and cannot change the audit log. Use it as the role of DATABASE_URL.',
    )
    .argument('<role>', 'the name of the role')
    .addHelpText('after', examples('db grant-app tenantry_app'))
    .action(grantRole);
}

async function applyMigrations(): Promise<void> {
  await withDatabase(async ({ databaseDirectUrl }) => {
    const applied = await migrate(databaseDirectUrl);
    print(applied.length === 0 ? 'Nothing to apply' : `Applied ${applied.join(', ')}`);
  });
}

async function grantRole(role: string): Promise<void> {
  await withDatabase(async ({ databaseDirectUrl }) => {
    await migrate(databaseDirectUrl);
    const isNew = await grantAppRole(databaseDirectUrl, role);
    print(isNew ? `Created the role ${role}. Set a password for it.` : `The role ${role} has its rights`);
  });
}

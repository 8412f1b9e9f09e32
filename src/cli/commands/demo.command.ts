import type { Command } from 'commander';
import { seedDemo } from '../demo.js';
import { configWithoutDatabase, withApp } from '../environment.js';
import { examples, print } from '../output.js';

export function addDemoCommands(program: Command): void {
  const demo = program.command('demo').description('Manage the demo data.').usage('<command>');
  demo
    .command('seed')
    .summary('Create the demo data in the configured database.')
    .description('Create the demo users and their organization in the configured database. Refused in production.')
    .addHelpText('after', examples('demo seed'))
    .action(seed);
}

async function seed(): Promise<void> {
  if (configWithoutDatabase().isProduction) throw new Error('The demo is not available in production.');
  await withApp(async (app) => {
    const { people } = await seedDemo(app);
    for (const { email, password } of people) print(`${email}  ${password}`);
  });
}

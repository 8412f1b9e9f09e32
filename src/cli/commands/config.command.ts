import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { configurationPage, environmentExample } from '../../platform/config/documentation.js';
import { examples } from '../output.js';

export function addConfigCommands(program: Command): void {
  const config = program.command('config').description('Describe the configuration.').usage('<command>');
  config
    .command('docs')
    .description('Write docs/configuration.md and .env.example, which describe the environment variables.')
    .addHelpText('after', examples('config docs'))
    .action(() => {
      writeFileSync('.env.example', environmentExample());
      writeFileSync('docs/configuration.md', configurationPage());
    });
}

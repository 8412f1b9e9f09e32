import { Argument, type Command } from 'commander';
import { SYSTEM } from '../../access/principal.js';
import { MeterExportsService } from '../../usage/exports/meter-exports.service.js';
import { BILLING_PROVIDERS, type BillingProviderName } from '../../plans/plans.js';
import { withApp } from '../environment.js';
import { examples, print } from '../output.js';

export function addMetersCommands(program: Command): void {
  const meters = program.command('meters').description('Manage the export of usage to billing providers.').usage('<command>');
  meters
    .command('retry')
    .description("Send the usage events again that a provider's meter has refused.")
    .addArgument(new Argument('<provider>', 'the billing provider').choices(BILLING_PROVIDERS))
    .addHelpText('after', examples('meters retry polar'))
    .action(async (provider: BillingProviderName) =>
      withApp(async (app) => print(`${await app.get(MeterExportsService).retry(provider, SYSTEM)} events will be sent again`)),
    );
}

import type { Command } from 'commander';
import { OutboxService } from '../../outbox/outbox.service.js';
import { withApp } from '../environment.js';
import { examples, print } from '../output.js';

export function addOutboxCommands(program: Command): void {
  const outbox = program.command('outbox').description('Manage mails and calls to providers that wait to be sent.').usage('<command>');
  outbox
    .command('retry')
    .summary('Try dead entries again.')
    .description('Try dead entries again. An entry is dead when all its attempts have failed.')
    .addHelpText('after', examples('outbox retry'))
    .action(async () => withApp(async (app) => print(`${await app.get(OutboxService).retryDead()} entries will be tried again`)));
}

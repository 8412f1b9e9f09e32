import { Argument, type Command } from 'commander';
import { EXAMPLE_PROVIDERS, type ExampleTarget, ExampleWebhooksService } from '../../providers/example-webhooks.service.js';
import { Clock } from '../../platform/time/clock.service.js';
import { configWithoutDatabase } from '../environment.js';
import { examples, print } from '../output.js';

export function addWebhooksCommands(program: Command): void {
  const webhooks = program.command('webhooks').description('Try out webhooks.').usage('<command>');
  webhooks
    .command('send')
    .summary('Post a signed example event to the running server.')
    .description(
      'Sign an example event as a provider would, and post it to the running server. Refused in production. Ids that are not given are random.',
    )
    .addArgument(new Argument('<provider>', 'the provider that the event comes from').choices(EXAMPLE_PROVIDERS))
    .argument('<type>', 'the type of the event; an unknown type lists the known ones')
    .option('--user <id>', 'the user that the event is about')
    .option('--organization <id>', 'the organization that the event is about')
    .option('--email <address>', 'the email address of the user')
    .option('--product <id>', 'the product that is sold')
    .option('--subscription <id>', 'the subscription that the event is about')
    .option('--url <url>', 'the base URL of the server (default: PUBLIC_URL)')
    .addHelpText(
      'after',
      examples(
        'webhooks send clerk user.created --user user_ada --email ada@clerk.test',
        'webhooks send polar subscription.active --subscription sub_1',
      ),
    )
    .action(async (provider: string, type: string, target: ExampleTarget) => {
      print(await new ExampleWebhooksService(configWithoutDatabase(), new Clock()).send(provider, type, target));
    });
}

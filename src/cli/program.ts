import { type Argument, Command } from 'commander';
import { addConfigCommands } from './commands/config.command.js';
import { addDbCommands } from './commands/db.command.js';
import { addDemoCommands } from './commands/demo.command.js';
import { addKeysCommands } from './commands/keys.command.js';
import { addMetersCommands } from './commands/meters.command.js';
import { addOpenapiCommands } from './commands/openapi.command.js';
import { addOperatorCommands } from './commands/operator.command.js';
import { addOutboxCommands } from './commands/outbox.command.js';
import { addVerificationCommands } from './commands/verification.command.js';
import { addVerifyCommands } from './commands/verify.command.js';
import { addWebhooksCommands } from './commands/webhooks.command.js';

const EXIT_CODES = `
Exit codes:
  0  The command succeeded. For verify: nothing differs, every promise holds.
  1  The command failed. For verify: something differs, a promise is broken.
  2  The command line has a mistake. For verify: the comparison was not possible.

Each command has a help of its own: npm run cli -- db migrate --help
`;

/** The command line as a tree of commands, not yet run. */
export function createProgram(): Command {
  // Commands copy these settings from their parent when they are added.
  const program = new Command('npm run cli --')
    .description('Administers a Tenantry installation.')
    .usage('<command>')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .configureHelp({
      helpWidth: 100,
      // All commands at once, each with the name of its group.
      visibleCommands: ({ commands }) => commands.flatMap((one) => (one.commands.length === 0 ? [one] : one.commands)),
      subcommandTerm: (command) => [...groupOf(command), command.name(), ...command.registeredArguments.map(termOf)].join(' '),
    })
    .configureOutput({ outputError: (message, write) => write(`${sentenceOf(message)}\n`) })
    .showHelpAfterError('Add --help to see what the command takes.')
    .addHelpText('after', EXIT_CODES)
    .exitOverride();
  for (const add of [
    addOperatorCommands,
    addVerificationCommands,
    addVerifyCommands,
    addMetersCommands,
    addOutboxCommands,
    addWebhooksCommands,
    addKeysCommands,
    addDbCommands,
    addDemoCommands,
    addOpenapiCommands,
    addConfigCommands,
  ])
    add(program);
  // Commander would suggest the names of commands without their groups.
  return program.showSuggestionAfterError(false);
}

function groupOf({ parent }: Command): string[] {
  return parent === null || parent.parent === null ? [] : [parent.name()];
}

function termOf(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

/** `error: unknown option '--fx'` becomes `Unknown option '--fx'.` */
function sentenceOf(message: string): string {
  const [first = '', ...hints] = message
    .replace(/^error: /, '')
    .trimEnd()
    .split('\n');
  const sentence = `${first.charAt(0).toUpperCase()}${first.slice(1).replace(/\.?$/, '.')}`;
  return [sentence, ...hints].join('\n');
}

import type { Command } from 'commander';
import { UserNotFound } from '../../users/users.errors.js';
import { UsersService } from '../../users/users.service.js';
import { withApp } from '../environment.js';
import { examples, print } from '../output.js';

export function addOperatorCommands(program: Command): void {
  const operator = program.command('operator').description('Choose who operates this installation.').usage('<command>');
  operator
    .command('grant')
    .summary('Make a user an operator.')
    .description('Make a user an operator. Operators administer the installation over the API. The API cannot grant this.')
    .argument('<email>', 'the email address of the user')
    .addHelpText('after', examples('operator grant ada@example.com'))
    .action(async (email: string) => setOperator(email, true));
  operator
    .command('revoke')
    .description('Take the rights of an operator away from a user.')
    .argument('<email>', 'the email address of the user')
    .addHelpText('after', examples('operator revoke ada@example.com'))
    .action(async (email: string) => setOperator(email, false));
}

async function setOperator(email: string, isOperator: boolean): Promise<void> {
  await withApp(async (app) => {
    const users = app.get(UsersService);
    const user = await users.findByEmail(email);
    if (user === undefined) throw new UserNotFound();
    await users.setOperator(user.id, isOperator);
    print(`${email} is ${isOperator ? 'now' : 'no longer'} an operator`);
  });
}

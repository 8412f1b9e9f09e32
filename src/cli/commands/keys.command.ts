import type { Command } from 'commander';
import { AccountsService } from '../../accounts/accounts.service.js';
import { AuditSeals } from '../../audit/seals/audit-seals.service.js';
import { IdempotencyService } from '../../idempotency/idempotency.service.js';
import { OutboxService } from '../../outbox/outbox.service.js';
import { WebhooksService } from '../../webhooks/webhooks.service.js';
import { withApp } from '../environment.js';
import { examples, print } from '../output.js';

export function addKeysCommands(program: Command): void {
  const keys = program.command('keys').description('Manage the encryption keys.').usage('<command>');
  keys
    .command('rotate')
    .summary('Encrypt all stored secrets under the newest key.')
    .description(
      'Encrypt all stored secrets under the first key of ENCRYPTION_KEYS, so that the older keys can be removed. Restart every process with the new key before you run this.',
    )
    .addHelpText('after', examples('keys rotate'))
    .action(rotate);
}

async function rotate(): Promise<void> {
  await withApp(async (app) => {
    const accounts = await app.get(AccountsService).renewEncryption();
    await app.get(AuditSeals).renewEncryption();
    const entries = await app.get(OutboxService).renewEncryption();
    const responses = await app.get(IdempotencyService).renewEncryption();
    const events = await app.get(WebhooksService).renewEncryption();
    print(
      `Encrypted ${accounts} accounts, ${entries} outbox entries, ${responses} stored responses and ${events} webhook events under the newest key`,
    );
  });
}

import { writeFileSync } from 'node:fs';
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { NestFactory } from '@nestjs/core';
import { documentedAccess } from './access/documented-access.js';
import { SYSTEM } from './access/principal.js';
import { AccountsService } from './accounts/accounts.service.js';
import { AppModule } from './app.module.js';
import { isId } from './platform/crypto/ids.js';
import { loadConfig } from './platform/config/config.js';
import { configurationPage, environmentExample } from './platform/config/documentation.js';
import { AppRoleRefused, grantAppRole } from './platform/database/app-role.js';
import { migrate } from './platform/database/migrations.js';
import { seedDemo } from './demo.js';
import { IdempotencyService } from './idempotency/idempotency.service.js';
import { MetersService } from './usage/exports/meter-exports.service.js';
import { createDocument } from './platform/openapi/document.js';
import { OutboxService } from './outbox/outbox.service.js';
import { BILLING_PROVIDERS } from './plans/plans.js';
import { createApp } from './create-app.js';
import { configWithoutDatabase, report, type ResolvedEnvironment, resolveEnvironment } from './start.js';
import { BillingProviderFailed } from './subscriptions/sync/billing-provider.port.js';
import { BillingReconciliation, CannotReconcileBilling } from './subscriptions/reconciliation/billing-reconciliation.service.js';
import { UsageVerification } from './usage/reconciliation/usage-verification.service.js';
import { UserNotFound } from './users/users.errors.js';
import { UsersService } from './users/users.service.js';
import { ClerkReconciliation } from './providers/clerk/clerk-reconciliation.service.js';
import { CannotReconcile, ClerkApiFailed } from './providers/clerk/clerk.errors.js';
import { CannotSend, ExampleWebhooksService } from './providers/example-webhooks.service.js';
import { WebhooksService } from './webhooks/webhooks.service.js';

interface Command {
  usage: string;
  summary: string;
  /** Answers what to print. */
  run(parameters: string[]): Promise<string>;
}

/** A mistake of whoever typed the command: printed without a stack. */
class UsageError extends Error {}

type App = Awaited<ReturnType<typeof NestFactory.createApplicationContext>>;

/** A command that needs the database, which is started for it where there is none. */
function withDatabase(work: (around: ResolvedEnvironment, parameters: string[]) => Promise<string>): Command['run'] {
  return async (parameters) => {
    const around = await resolveEnvironment({ join: true });
    try {
      return await work(around, parameters);
    } finally {
      await around.stop();
    }
  };
}

/** A command that needs the application, but neither its server nor its workers. */
function withApp(work: (app: App, parameters: string[]) => Promise<string>): Command['run'] {
  return withDatabase(async ({ config }, parameters) => {
    await migrate(config.databaseDirectUrl);
    const app = await NestFactory.create(AppModule.register(config), { logger: ['error', 'warn'], abortOnError: false });
    try {
      return await work(app, parameters);
    } finally {
      await app.close();
    }
  });
}

async function setOperator(app: App, email: string | undefined, operator: boolean): Promise<string> {
  if (email === undefined) throw new UsageError('Which email?');
  const users = app.get(UsersService);
  const user = await users.findByEmail(email);
  if (user === undefined) throw new UsageError(new UserNotFound().message);
  await users.setOperator(user.id, operator);
  return `${email} is ${operator ? 'now an operator' : 'no operator any more'}`;
}

/** Exits with 1 while anything differs. */
async function verifyClerk(app: App, options: string[]): Promise<string> {
  const unknown = options.find((option) => option !== '--fix' && option !== '--force');
  if (unknown !== undefined) throw new UsageError(`What is ${unknown}? clerk verify [--fix] [--force]`);
  const fix = options.includes('--fix');
  const { found, repaired, counts } = await app.get(ClerkReconciliation).reconcile({
    fix,
    force: options.includes('--force'),
    onDifference: ({ kind, object, id, what, isRepaired }) => writeDifference(`${kind} ${object} ${id}`, what, { fix, isRepaired }),
  });
  return outcomeOf({ found, repaired, counts }, fix);
}

/** Exits with 1 while anything differs. */
async function verifyBilling(app: App, options: string[]): Promise<string> {
  const { fix, force, provider } = optionsOf(options, 'billing verify [--fix] [--force] [--provider polar|dodo]', {
    fix: { type: 'boolean', default: false },
    force: { type: 'boolean', default: false },
    provider: { type: 'string' },
  });
  const { found, repaired, counts } = await app.get(BillingReconciliation).reconcile({
    fix,
    force,
    provider,
    onDifference: ({ provider: name, kind, id, what, isRepaired }) => writeDifference(`${kind} ${name} ${id}`, what, { fix, isRepaired }),
  });
  return outcomeOf({ found, repaired, counts }, fix);
}

/** Exits with 1 while anything differs. */
async function verifyUsage(app: App, options: string[]): Promise<string> {
  const { fix, owner } = optionsOf(options, 'usage verify [--fix] [--owner <id>]', {
    fix: { type: 'boolean', default: false },
    owner: { type: 'string' },
  });
  if (owner !== undefined && !isId(owner)) throw new UsageError(`${String(owner)} is not the id of a user or an organization`);
  const { found, repaired, counts } = await app.get(UsageVerification).verify({
    fix,
    ownerId: owner?.toLowerCase(),
    onDifference: ({ kind, name, what, isRepaired }) => writeDifference(`${kind} ${name}`, what, { fix, isRepaired }),
  });
  return outcomeOf({ found, repaired, counts }, fix);
}

function optionsOf<T extends NonNullable<ParseArgsConfig['options']>>(given: string[], usage: string, options: T) {
  try {
    return parseArgs({ args: given, options }).values;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new UsageError(`${error.message}\n\n${usage}`);
  }
}

async function retryMeter(app: App, [name]: string[]): Promise<string> {
  const provider = BILLING_PROVIDERS.find((one) => one === name);
  if (provider === undefined) throw new UsageError(`Which provider? meters retry <${BILLING_PROVIDERS.join('|')}>`);
  return `${await app.get(MetersService).retry(provider, SYSTEM)} events will be told again`;
}

function writeDifference(name: string, what: string[], { fix, isRepaired }: { fix: boolean; isRepaired: boolean }): void {
  const outcome = fix ? ` (${isRepaired ? 'repaired' : 'left'})` : '';
  process.stdout.write(`${name}${what.length === 0 ? '' : `: ${what.join(', ')}`}${outcome}\n`);
}

function outcomeOf({ found, repaired, counts }: { found: number; repaired: number; counts: Map<string, number> }, fix: boolean): string {
  if (found === 0) return 'Nothing differs';
  if (repaired < found) process.exitCode = 1;
  const list = [...counts].map(([what, count]) => `${count} ${what}`).join(', ');
  return `${found} ${found === 1 ? 'difference' : 'differences'} (${list})${fix ? `; ${repaired} repaired, ${found - repaired} left` : ''}`;
}

const COMMANDS: Record<string, Command> = {
  'operator grant': {
    usage: 'operator grant <email>',
    summary: 'make a user an operator of this installation',
    run: withApp((app, [email]) => setOperator(app, email, true)),
  },
  'operator revoke': {
    usage: 'operator revoke <email>',
    summary: 'make an operator a plain user again',
    run: withApp((app, [email]) => setOperator(app, email, false)),
  },
  'keys rotate': {
    usage: 'keys rotate',
    summary: 'encrypt what is stored under the newest of ENCRYPTION_KEYS, so that older keys can go',
    run: withApp(async (app) => {
      const accounts = await app.get(AccountsService).renewEncryption();
      const entries = await app.get(OutboxService).renewEncryption();
      const answers = await app.get(IdempotencyService).renewEncryption();
      const events = await app.get(WebhooksService).renewEncryption();
      return `${accounts} accounts, ${entries} outbox entries, ${answers} stored answers and ${events} webhook events were put under the newest key`;
    }),
  },
  'outbox retry': {
    usage: 'outbox retry',
    summary: 'give entries that used up their attempts new ones',
    run: withApp(async (app) => `${await app.get(OutboxService).retryDead()} entries will be tried again`),
  },
  'clerk verify': {
    usage: 'clerk verify [--fix] [--force]',
    summary: 'compare users, organizations and memberships with Clerk; --fix repairs what differs, --force also when most users would go',
    run: withApp(verifyClerk),
  },
  'billing verify': {
    usage: 'billing verify [--fix] [--force] [--provider polar|dodo]',
    summary: 'compare subscriptions with the billing providers; --fix repairs what differs, --force also when most would end',
    run: withApp(verifyBilling),
  },
  'usage verify': {
    usage: 'usage verify [--fix] [--owner <id>]',
    summary: 'compare the events of usage with rollups, quotas and ids; --fix brings those in line',
    run: withApp(verifyUsage),
  },
  'meters retry': {
    usage: 'meters retry <polar|dodo>',
    summary: "tell a billing provider's meter again of usage that it has refused",
    run: withApp(retryMeter),
  },
  'webhooks send': {
    usage: 'webhooks send <provider> <type>',
    summary: "sign a provider's event and post it to the running server; never in production",
    run: async (parameters) => new ExampleWebhooksService(configWithoutDatabase()).send(parameters),
  },
  'db migrate': {
    usage: 'db migrate',
    summary: 'apply pending migrations, under a lock',
    run: withDatabase(async ({ config }) => {
      const applied = await migrate(config.databaseDirectUrl);
      return applied.length === 0 ? 'Nothing to apply' : `Applied ${applied.join(', ')}`;
    }),
  },
  'db grant-app': {
    usage: 'db grant-app <role>',
    summary: 'let the role of DATABASE_URL read and write rows, but own no table and change no audit entry',
    run: withDatabase(async ({ config }, [role]) => {
      if (role === undefined) throw new UsageError('Which role? db grant-app <role>');
      await migrate(config.databaseDirectUrl);
      const isNew = await grantAppRole(config.databaseDirectUrl, role);
      return isNew ? `Created the role ${role} without a password: set one. It has its privileges` : `The role ${role} has its privileges`;
    }),
  },
  'demo seed': {
    usage: 'demo seed',
    summary: "make the demo's users in the configured database; never in production",
    run: async (parameters) => {
      if (configWithoutDatabase().isProduction) throw new UsageError('The demo is not for production');
      return withApp(async (app) => {
        const { people } = await seedDemo(app);
        return people.map(({ email, password }) => `${email}  ${password}`).join('\n');
      })(parameters);
    },
  },
};

/** Writes openapi.json. Needs no database: nothing connects before the first query. */
async function writeDocument(): Promise<void> {
  const config = loadConfig({
    DATABASE_URL: 'postgres://localhost/none',
    AUTH_SECRET: 'x'.repeat(32),
    ENCRYPTION_KEYS: `none:${Buffer.alloc(32).toString('base64')}`,
    LOG_LEVEL: 'silent',
  });
  const app = await createApp(config);
  writeFileSync('openapi.json', `${JSON.stringify(createDocument(app, documentedAccess), null, 2)}\n`);
  await app.close();
}

/** Writes the two files that describe the environment variables. */
function writeConfigurationDocs(): void {
  writeFileSync('.env.example', environmentExample());
  writeFileSync('docs/configuration.md', configurationPage());
}

async function main(words: string[]): Promise<void> {
  const [name, ...parameters] = [words.slice(0, 2).join(' '), ...words.slice(2)];
  if (name === 'openapi write') return writeDocument();
  if (name === 'config docs') return writeConfigurationDocs();
  const command = COMMANDS[name];
  if (command === undefined) {
    const list = Object.values(COMMANDS).map(({ usage, summary }) => `  ${usage.padEnd(34)} ${summary}`);
    throw new UsageError(`Usage: npm run cli -- <command>\n\n${list.join('\n')}`);
  }
  process.stdout.write(`${await command.run(parameters)}\n`);
}

function isMistake(error: unknown): error is Error {
  return [UsageError, AppRoleRefused, CannotSend, CannotReconcile, ClerkApiFailed, CannotReconcileBilling, BillingProviderFailed].some(
    (kind) => error instanceof kind,
  );
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (isMistake(error)) process.stderr.write(`${error.message}\n`);
  else report(error);
  process.exitCode = 1;
}

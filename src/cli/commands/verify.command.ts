import type { INestApplicationContext } from '@nestjs/common';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { isId } from '../../platform/crypto/ids.js';
import { BILLING_PROVIDERS } from '../../plans/plans.js';
import { BillingReconciliation } from '../../subscriptions/reconciliation/billing-reconciliation.service.js';
import { UsageVerification } from '../../usage/reconciliation/usage-verification.service.js';
import { ClerkReconciliation } from '../../providers/clerk/clerk-reconciliation.service.js';
import { withApp } from '../environment.js';
import { reportFailure } from '../failures.js';
import { examples, print } from '../output.js';

interface VerifyOptions {
  fix?: boolean;
  force?: boolean;
  json?: boolean;
  provider?: string;
  owner?: string;
}

interface PrintedDifference {
  kind: string;
  resource?: string;
  id: string;
  details: string[];
  isRepaired: boolean;
}

interface Outcome {
  counts: Map<string, number>;
  found: number;
  repaired: number;
}

type Reconcile = (
  app: INestApplicationContext,
  options: VerifyOptions & { onDifference: (difference: PrintedDifference) => void },
) => Promise<Outcome>;

export function addVerifyCommands(program: Command): void {
  const clerk = program.command('clerk').description('Check that users and organizations equal those at Clerk.').usage('<command>');
  addVerify(clerk, 'Compare users, organizations and memberships with Clerk.', async (app, { onDifference, ...options }) =>
    app.get(ClerkReconciliation).reconcile({
      ...options,
      onDifference: ({ object: resource, what: details, ...one }) => onDifference({ ...one, resource, details }),
    }),
  );

  const billing = program
    .command('billing')
    .description('Check that subscriptions equal those at the billing providers.')
    .usage('<command>');
  addVerify(billing, 'Compare subscriptions with the billing providers.', async (app, { onDifference, ...options }) =>
    app.get(BillingReconciliation).reconcile({
      ...options,
      onDifference: ({ provider: resource, what: details, ...one }) => onDifference({ ...one, resource, details }),
    }),
  ).addOption(new Option('--provider <provider>', 'compare only this provider').choices(BILLING_PROVIDERS));

  const usage = program.command('usage').description('Check that the sums of usage equal the events.').usage('<command>');
  addVerify(usage, 'Compare rollups, quotas and event ids with the stored usage events.', async (app, { fix, owner, onDifference }) =>
    app.get(UsageVerification).verify({
      ...{ fix, ownerId: owner },
      onDifference: ({ name: id, what: details, ...one }) => onDifference({ ...one, id, details }),
    }),
  ).option('--owner <id>', 'compare only the usage of this user or organization', parseId);
}

function addVerify(group: Command, summary: string, reconcile: Reconcile): Command {
  return group
    .command('verify')
    .summary(summary)
    .description(`${summary} Exits with 0 if nothing differs, 1 if something differs, 2 if the comparison was not possible.`)
    .option('--fix', 'repair what differs; exits with 0 if everything was repaired')
    .option('--force', 'repair even if most of our rows would be removed')
    .option('--json', 'print each difference and the summary as a line of JSON')
    .addHelpText('after', examples(`${group.name()} verify`, `${group.name()} verify --fix --json`))
    .action(async (options: VerifyOptions) => {
      try {
        await withApp(async (app) => verify(app, options, reconcile));
      } catch (error) {
        reportFailure(error, 2);
      }
    });
}

async function verify(app: INestApplicationContext, options: VerifyOptions, reconcile: Reconcile): Promise<void> {
  const onDifference = (difference: PrintedDifference) =>
    print(options.json === true ? JSON.stringify({ type: 'difference', ...difference }) : describe(difference, options.fix === true));
  const summary = await reconcile(app, { ...options, onDifference });
  print(
    options.json
      ? JSON.stringify({ type: 'summary', ...summary, counts: Object.fromEntries(summary.counts) })
      : summarize(summary, options.fix === true),
  );
  if (summary.repaired < summary.found) process.exitCode = 1;
}

function describe({ kind, resource, id, details, isRepaired }: PrintedDifference, fix: boolean): string {
  const what = [kind, resource, id].filter(Boolean).join(' ');
  const outcome = isRepaired ? 'repaired' : 'left';
  return `${what}${details.length === 0 ? '' : `: ${details.join(', ')}`}${fix ? ` (${outcome})` : ''}`;
}

function summarize({ found, repaired, counts }: Outcome, fix: boolean): string {
  if (found === 0) return 'Nothing differs';
  const list = [...counts].map(([what, count]) => `${count} ${what}`).join(', ');
  return `${found} ${found === 1 ? 'difference' : 'differences'} (${list})${fix ? `; ${repaired} repaired, ${found - repaired} left` : ''}`;
}

function parseId(text: string): string {
  if (!isId(text)) throw new InvalidArgumentError('Give the id of a user or an organization.');
  return text.toLowerCase();
}

import type { Type } from '@nestjs/common';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { isId } from '../../platform/crypto/ids.js';
import { BILLING_PROVIDERS } from '../../plans/plans.js';
import { MemberCountReconciliation } from '../../memberships/member-counts.service.js';
import { ClerkReconciliation } from '../../providers/clerk/clerk-reconciliation.service.js';
import { BillingReconciliation } from '../../subscriptions/reconciliation/billing-reconciliation.service.js';
import type { Difference, Reconciliation, ReconciliationSummary } from '../../sync/reconciliation.port.js';
import { UsageReconciliation } from '../../usage/reconciliation/usage-reconciliation.service.js';
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

export function addVerifyCommands(program: Command): void {
  const clerk = program.command('clerk').description('Check that users and organizations equal those at Clerk.').usage('<command>');
  addVerify(clerk, 'Compare users, organizations and memberships with Clerk.', ClerkReconciliation);

  const billing = program
    .command('billing')
    .description('Check that subscriptions equal those at the billing providers.')
    .usage('<command>');
  addVerify(billing, 'Compare subscriptions with the billing providers.', BillingReconciliation).addOption(
    new Option('--provider <provider>', 'compare only this provider').choices(BILLING_PROVIDERS),
  );

  const usage = program.command('usage').description('Check that the sums of usage equal the events.').usage('<command>');
  addVerify(usage, 'Compare rollups, quotas and event ids with the stored usage events.', UsageReconciliation).option(
    '--owner <id>',
    'compare only the usage of this user or organization',
    parseId,
  );

  const organizations = program.command('organizations').description('Check that member counts equal the memberships.').usage('<command>');
  addVerify(organizations, 'Compare the member count of each organization with its memberships.', MemberCountReconciliation);
}

function addVerify(group: Command, summary: string, service: Type<Reconciliation>): Command {
  return group
    .command('verify')
    .summary(summary)
    .description(`${summary} Exits with 0 if nothing differs, 1 if something differs, 2 if the comparison was not possible.`)
    .option('--fix', 'repair what differs; exits with 0 if everything was repaired')
    .option('--force', 'repair even if that removes most of our rows')
    .option('--json', 'print each difference and the summary as a line of JSON')
    .addHelpText('after', examples(`${group.name()} verify`, `${group.name()} verify --fix --json`))
    .action(async (options: VerifyOptions) => {
      try {
        await withApp(async (app) => verify(app.get(service), options));
      } catch (error) {
        reportFailure(error, 2);
      }
    });
}

async function verify(reconciliation: Reconciliation, { fix = false, force, json, provider, owner }: VerifyOptions): Promise<void> {
  const describeDifference = json === true ? jsonOf : (difference: Difference) => textOf(difference, fix);
  const summary = await reconciliation.reconcile({
    fix,
    force,
    only: provider ?? owner,
    onDifference: (difference) => print(describeDifference(difference)),
  });
  print(json === true ? summaryJsonOf(summary) : summaryTextOf(summary, fix));
  if (summary.repaired < summary.found) process.exitCode = 1;
}

function textOf({ kind, resource, id, details, isRepaired }: Difference, fix: boolean): string {
  const list = details.length === 0 ? '' : `: ${details.join(', ')}`;
  return `${kind} ${resource} ${id}${list}${fix ? ` (${isRepaired ? 'repaired' : 'left'})` : ''}`;
}

function jsonOf(difference: Difference): string {
  return JSON.stringify({ type: 'difference', ...difference });
}

function summaryTextOf({ found, repaired, counts }: ReconciliationSummary, fix: boolean): string {
  if (found === 0) return 'Nothing differs';
  const list = [...counts].map(([name, count]) => `${count.found} ${name}`).join(', ');
  const outcome = fix ? `; ${repaired} repaired, ${found - repaired} left` : '';
  return `${found} ${found === 1 ? 'difference' : 'differences'} (${list})${outcome}`;
}

function summaryJsonOf({ counts, ...summary }: ReconciliationSummary): string {
  return JSON.stringify({ type: 'summary', ...summary, counts: Object.fromEntries(counts) });
}

function parseId(text: string): string {
  if (!isId(text)) throw new InvalidArgumentError('Give the id of a user or an organization.');
  return text.toLowerCase();
}

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { type CheckResult, VerificationService, type Violation } from '../../verification/verification.service.js';
import { VerificationReports } from '../../verification/verification-reports.service.js';
import { withApp } from '../environment.js';
import { reportFailure } from '../failures.js';
import { examples, print } from '../output.js';

/** Of one check, in the table. The report in JSON has all. */
const SHOWN = 20;

const LABELS = { holds: 'holds', broken: 'BROKEN', not_configured: 'not configured', failed: 'NOT CHECKED' } as const;

export function addVerificationCommands(program: Command): void {
  program
    .command('verify')
    .summary('Check on the stored rows everything that Tenantry promises.')
    .description(
      'Check on the stored rows everything that Tenantry promises, beside any traffic and without writing. Exits with 0 if every promise holds, 1 if one is broken, 2 if one could not be checked.',
    )
    .argument('[checks...]', 'names of checks; all of them by default')
    .option('--json', 'print the signed report as lines of JSON')
    .addHelpText('after', examples('verify', 'verify usage usage_caps', 'verify --json > report.jsonl'))
    .action(async (checks: string[], { json = false }: { json?: boolean }) => {
      try {
        await withApp(async (app) =>
          verify(app.get(VerificationService), { checks, reports: json ? app.get(VerificationReports) : undefined }),
        );
      } catch (error) {
        reportFailure(error, 2);
      }
    });

  const report = program.command('report').description('Read reports of the verification.').usage('<command>');
  report
    .command('check')
    .summary('Check the signature of a report of verify --json.')
    .description(
      'Check the signature of a report of verify --json. Exits with 1 if this installation did not write it, or if it was changed.',
    )
    .argument('<file>', 'the report')
    .addHelpText('after', examples('report check report.jsonl'))
    .action(async (file: string) => {
      const text = readFileSync(file, 'utf8');
      await withApp(async (app) => {
        if (!app.get(VerificationReports).isGenuine(text))
          throw new Error('This installation did not write the report, or it was changed.');
        print('The report is genuine');
      });
    });
}

async function verify(
  verification: VerificationService,
  { checks, reports }: { checks: string[]; reports: VerificationReports | undefined },
): Promise<void> {
  const unknown = checks.filter((name) => !verification.names().includes(name));
  if (unknown.length > 0) throw new Error(`There is no check ${unknown.join(', ')}. There are ${verification.names().join(', ')}.`);
  const report = reports?.start();
  let shown: string[] = [];
  const results = await verification.verify({
    checks: checks.length === 0 ? undefined : checks,
    onViolation: (violation) => {
      if (report !== undefined) print(report.violation(violation));
      else if (shown.length < SHOWN) shown.push(violationText(violation));
    },
    onResult: (result) => {
      if (report !== undefined) return print(report.result(result));
      for (const line of [resultText(result), ...shown]) print(line);
      if (result.violations > SHOWN) print(`    … and ${result.violations - SHOWN} more`);
      shown = [];
    },
  });
  print(report === undefined ? summaryText(results) : report.end());
  const has = (outcome: CheckResult['outcome']) => results.some((result) => result.outcome === outcome);
  if (has('broken')) process.exitCode = 1;
  else if (has('failed')) process.exitCode = 2;
}

function resultText({ check, promise, outcome, violations, note }: CheckResult): string {
  const label = outcome === 'broken' ? `${LABELS.broken} (${violations})` : LABELS[outcome];
  return `${label.padEnd(15)} ${check.padEnd(22)} ${promise}${note === null ? '' : ` (${note})`}`;
}

function violationText({ resource, id, details }: Violation): string {
  return `    ${resource} ${id}: ${details.join(', ')}`;
}

function summaryText(results: CheckResult[]): string {
  const count = (outcome: CheckResult['outcome']) => results.filter((result) => result.outcome === outcome).length;
  const counts = [
    `${count('holds')} hold`,
    `${count('broken')} broken`,
    `${count('failed')} not checked`,
    `${count('not_configured')} not configured`,
  ];
  return `\n${results.length} promises: ${counts.join(', ')}`;
}

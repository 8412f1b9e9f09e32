import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { AuditSeals } from '../audit/seals/audit-seals.service.js';
import { JobsService } from '../jobs/jobs.service.js';
import { MemberCountReconciliation } from '../memberships/member-counts.service.js';
import { reasonOf } from '../platform/logging/reason.js';
import { Metrics } from '../platform/metrics/metrics.service.js';
import { ClerkReconciliation } from '../providers/clerk/clerk-reconciliation.service.js';
import { BillingReconciliation } from '../subscriptions/reconciliation/billing-reconciliation.service.js';
import { type Reconciliation, SourceNotConfigured } from '../sync/reconciliation.port.js';
import { UsageCaps } from '../usage/reconciliation/usage-caps.service.js';
import { UsageReconciliation } from '../usage/reconciliation/usage-reconciliation.service.js';
import { ROW_CHECKS, type RowCheck } from './row-checks.js';
import { VerificationRepository } from './verification.repository.js';

export interface Violation {
  check: string;
  resource: string;
  id: string;
  details: string[];
}

/** `not_configured` is no failure: there is nothing to compare with. `failed` means that nobody knows. */
export type Outcome = 'holds' | 'broken' | 'not_configured' | 'failed';

export interface CheckResult {
  check: string;
  promise: string;
  outcome: Outcome;
  violations: number;
  /** What could not be checked, and why. */
  note: string | null;
  seconds: number;
}

export interface VerificationOptions {
  /** Names of checks; all of them by default. */
  checks?: string[];
  signal?: AbortSignal;
  onViolation?: (violation: Violation) => void;
  onResult?: (result: CheckResult) => void;
}

interface Check {
  name: string;
  promise: string;
  /** The nightly reconciliation with the provider asks it already. */
  isOfProvider?: boolean;
  /** Only reads. Returns what could not be checked. */
  run(report: (violation: Omit<Violation, 'check'>) => void, signal?: AbortSignal): Promise<string | null>;
}

/** So many violations of one check are logged each night. */
const LOGGED = 20;

/** Checks on the stored rows what Tenantry promises (docs/verification.md). */
@Injectable()
export class VerificationService implements OnModuleInit {
  private readonly logger = new Logger(VerificationService.name);
  private readonly checks: Check[];
  private readonly violations: Gauge<'check'>;
  private readonly failures: Gauge<'check'>;

  constructor(
    private readonly repository: VerificationRepository,
    private readonly caps: UsageCaps,
    private readonly seals: AuditSeals,
    private readonly jobs: JobsService,
    memberCounts: MemberCountReconciliation,
    usage: UsageReconciliation,
    clerk: ClerkReconciliation,
    billing: BillingReconciliation,
    metrics: Metrics,
  ) {
    const provider = { isOfProvider: true };
    this.checks = [
      ...ROW_CHECKS.map((check) => this.ofRows(check)),
      {
        name: 'audit_log',
        promise: 'No sealed entry of the audit log was changed, added or removed by hand.',
        run: (report, signal) => this.checkSeals(report, signal),
      },
      ofReconciliation('member_counts', 'Member counts equal the memberships.', memberCounts),
      {
        name: 'usage_caps',
        promise: 'No hard limit is passed, except by the overrun of holds.',
        run: (report, signal) => this.checkCaps(report, signal),
      },
      ofReconciliation('usage', 'Rollups, quotas, holds and ids equal the usage events.', usage),
      { ...ofReconciliation('clerk', 'Users, organizations and memberships equal those at Clerk.', clerk), ...provider },
      { ...ofReconciliation('billing', 'Subscriptions equal those at the billing providers.', billing), ...provider },
    ];
    const registers = [metrics.registry];
    this.violations = new Gauge({
      name: 'tenantry_verification_violations',
      help: 'Violations that the last nightly verification in this process found',
      labelNames: ['check'],
      registers,
    });
    this.failures = new Gauge({
      name: 'tenantry_verification_failed',
      help: 'Whether the last nightly verification in this process could not finish the check',
      labelNames: ['check'],
      registers,
    });
  }

  onModuleInit(): void {
    this.jobs.register({
      name: 'verify',
      description: 'Checks on the stored rows what Tenantry promises',
      dailyAt: '04:40',
      run: (signal) => this.verifyNightly(signal),
    });
  }

  names(): string[] {
    return this.checks.map(({ name }) => name);
  }

  /** Runs one check after the other, beside any traffic. Writes nothing. */
  async verify({ checks, ...options }: VerificationOptions = {}): Promise<CheckResult[]> {
    const results: CheckResult[] = [];
    for (const check of this.checks.filter(({ name }) => checks === undefined || checks.includes(name))) {
      const result = await runCheck(check, options);
      results.push(result);
      options.onResult?.(result);
    }
    return results;
  }

  private async verifyNightly(signal: AbortSignal): Promise<number> {
    const logged = new Map<string, number>();
    const results = await this.verify({
      checks: this.checks.filter(({ isOfProvider }) => isOfProvider !== true).map(({ name }) => name),
      signal,
      onViolation: (violation) => {
        const before = logged.get(violation.check) ?? 0;
        logged.set(violation.check, before + 1);
        if (before < LOGGED)
          this.logger.error({ violation }, `A promise is broken: ${violation.check}, ${violation.resource} ${violation.id}`);
      },
    });
    for (const { check, violations, outcome } of results) {
      this.violations.set({ check }, violations);
      this.failures.set({ check }, outcome === 'failed' ? 1 : 0);
    }
    return results.reduce((sum, { violations }) => sum + violations, 0);
  }

  private ofRows(check: RowCheck): Check {
    return {
      name: check.name,
      promise: check.promise,
      run: async (report, signal) => {
        for await (const { id, details } of this.repository.listBroken(check, signal))
          report({ resource: check.resource, id, details: [details] });
        return null;
      },
    };
  }

  private async checkSeals(report: Parameters<Check['run']>[0], signal?: AbortSignal): Promise<string | null> {
    const newest = await this.seals.verify(
      ({ seal, details }) => report({ resource: 'audit_seal', id: String(seal), details: [details] }),
      signal,
    );
    if (newest === undefined) return 'no entry is sealed yet';
    return `entries since ${newest.until.toISOString()} are not sealed yet; the newest seal is ${newest.number}, ${newest.link.toString('hex')}`;
  }

  private async checkCaps(report: Parameters<Check['run']>[0], signal?: AbortSignal): Promise<string | null> {
    let unclear = 0;
    for await (const { ownerId, periodStart, used, overrun, limit, isExplained } of this.caps.listExceeded(signal)) {
      if (isExplained) unclear += 1;
      else
        report({
          resource: 'quota',
          id: `${ownerId} ${periodStart.toISOString()}`,
          details: [`used ${used}, limit ${limit}, overrun ${overrun}`],
        });
    }
    return unclear === 0 ? null : `${unclear} owners are above a limit that changed within the period`;
  }
}

async function runCheck(check: Check, { signal, onViolation }: Omit<VerificationOptions, 'checks'>): Promise<CheckResult> {
  const started = performance.now();
  let violations = 0;
  const result = (outcome: Outcome, note: string | null): CheckResult => ({
    check: check.name,
    promise: check.promise,
    outcome,
    violations,
    note,
    seconds: Math.round(performance.now() - started) / 1000,
  });
  try {
    const note = await check.run((violation) => {
      violations += 1;
      onViolation?.({ check: check.name, ...violation });
    }, signal);
    return result(violations === 0 ? 'holds' : 'broken', note);
  } catch (error) {
    signal?.throwIfAborted();
    return result(error instanceof SourceNotConfigured ? 'not_configured' : 'failed', reasonOf(error));
  }
}

function ofReconciliation(name: string, promise: string, reconciliation: Reconciliation): Check {
  return {
    name,
    promise,
    run: async (report, signal) => {
      await reconciliation.reconcile({
        signal,
        onDifference: ({ kind, resource, id, details }) => report({ resource, id, details: [kind, ...details] }),
      });
      return null;
    },
  };
}

import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Keyring } from '../platform/crypto/keyring.service.js';
import { Clock } from '../platform/time/clock.service.js';
import type { CheckResult, Violation } from './verification.service.js';

const CONTEXT = 'verification report';

export interface Report {
  violation(violation: Violation): string;
  result(result: CheckResult): string;
  /** The last line: a summary, a digest of all lines before it, and a signature over both. */
  end(): string;
}

/** Reports as lines of JSON, signed under the installation's newest encryption key. */
@Injectable()
export class VerificationReports {
  constructor(
    private readonly keyring: Keyring,
    private readonly clock: Clock,
  ) {}

  start(): Report {
    const startedAt = this.clock.now();
    const digest = createHash('sha256');
    const outcomes = { holds: 0, broken: 0, not_configured: 0, failed: 0 };
    const line = (content: object) => {
      const text = JSON.stringify(content);
      digest.update(`${text}\n`);
      return text;
    };
    return {
      violation: (violation) => line({ type: 'violation', ...violation }),
      result: (result) => {
        outcomes[result.outcome] += 1;
        return line({ type: 'check', ...result });
      },
      end: () => {
        const summary = { type: 'report', startedAt, finishedAt: this.clock.now(), outcomes, digest: digest.digest('hex') };
        return JSON.stringify({ ...summary, signature: this.keyring.sign(JSON.stringify(summary), CONTEXT) });
      },
    };
  }

  /** Whether this installation wrote the report, and nothing was changed, added or removed. */
  isGenuine(report: string): boolean {
    const lines = report.trimEnd().split('\n');
    const { signature, ...summary } = parseObject(lines.pop()!);
    const digest = createHash('sha256');
    for (const line of lines) digest.update(`${line}\n`);
    if (typeof signature !== 'string' || summary['digest'] !== digest.digest('hex')) return false;
    return this.keyring.isSignature(signature, JSON.stringify(summary), CONTEXT);
  }
}

function parseObject(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

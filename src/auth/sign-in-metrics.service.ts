import { Injectable } from '@nestjs/common';
import { Counter } from 'prom-client';
import { Metrics } from '../platform/metrics/metrics.service.js';
import { Problem } from '../platform/problems/problem.js';
import type { AuthAnswer } from './better-auth/auth-answer.js';

const PROVIDERS = ['google', 'github'] as const;

/** Counts sign-ins by method and outcome: `succeeded`, or the code of the problem. */
@Injectable()
export class SignInMetrics {
  private readonly signIns: Counter<'method' | 'outcome'>;

  constructor({ registry }: Metrics) {
    this.signIns = new Counter({
      name: 'tenantry_sign_ins_total',
      help: 'Sign-ins by method (password, sign_up, google, github) and outcome: succeeded, or the code of the problem',
      labelNames: ['method', 'outcome'],
      registers: [registry],
    });
  }

  async count(given: string, send: () => Promise<AuthAnswer>): Promise<AuthAnswer> {
    const method = given === 'password' || given === 'sign_up' ? given : (PROVIDERS.find((provider) => provider === given) ?? 'other');
    try {
      const answer = await send();
      const outcome = outcomeOf(answer);
      if (outcome !== undefined) this.signIns.inc({ method, outcome });
      return answer;
    } catch (error) {
      this.signIns.inc({ method, outcome: error instanceof Problem ? error.code : 'internal_error' });
      throw error;
    }
  }
}

/** Undefined for a redirect to a provider, and for a linked account. */
function outcomeOf({ headers }: AuthAnswer): string | undefined {
  if (headers['set-auth-token'] !== undefined) return 'succeeded';
  return /[?&]error=/.test(headers['location'] ?? '') ? 'provider_sign_in_failed' : undefined;
}

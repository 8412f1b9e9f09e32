import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { PlanLimits } from '../../src/plans/plans.js';

const UNLIMITED: PlanLimits = {
  tokensPerPeriod: null,
  tokenLimit: 'hard',
  requestsPerMinute: null,
  tokensPerMinute: null,
  seats: null,
  perSeat: false,
  features: [],
};

/** A plan file with these limits and no others. */
export class PlanFile {
  private readonly directory = mkdtempSync(path.join(tmpdir(), 'tenantry-plans-'));
  readonly path = path.join(this.directory, 'plans.json');

  constructor(limits: Partial<Record<'free' | 'pro' | 'business', Partial<PlanLimits>>>) {
    const plans = (['free', 'pro', 'business'] as const).map((tier) => [
      tier,
      { name: tier, description: tier, limits: { ...UNLIMITED, ...limits[tier] } },
    ]);
    writeFileSync(this.path, JSON.stringify({ plans: Object.fromEntries(plans) }));
  }

  remove(): void {
    rmSync(this.directory, { recursive: true });
  }
}

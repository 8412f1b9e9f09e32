import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Tier } from '../../src/plans/plans.js';

/** The shipped plan file, with `onRefund: end` for these plans. */
export function strictPlans(...tiers: Tier[]): { file: string; remove(): void } {
  const content = JSON.parse(readFileSync('plans.json', 'utf8')) as { plans: Record<Tier, object> };
  for (const tier of tiers) Object.assign(content.plans[tier], { onRefund: 'end' });
  const directory = mkdtempSync(path.join(tmpdir(), 'tenantry-plans-'));
  const file = path.join(directory, 'plans.json');
  writeFileSync(file, JSON.stringify(content));
  return { file, remove: () => rmSync(directory, { recursive: true }) };
}

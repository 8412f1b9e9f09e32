import type { Plan, PlanLimits } from '../../plans/plans.js';
import type { OperationResult } from '../ledger/operations.js';

/** Returns the first plan that would have accepted everything that the cap refused. @param tokens of each event, or of the hold */
export function suggestPlan(plans: Plan[], { refused, events, quota }: OperationResult, tokens: number[]): Plan | undefined {
  const isWhole = refused === 'quota_exceeded';
  const exceeding = tokens.filter((_, index) => isWhole || events[index]?.reason === 'quota_exceeded');
  if (exceeding.length === 0) return undefined;
  const needed = exceeding.reduce((sum, count) => sum + count, quota.used + quota.held);
  // An earlier period may have refused it although this one has room: then a larger limit than this one helps.
  return plans.find(({ limits }) => allows(limits, Math.max(needed, quota.limit! + 1)));
}

function allows({ tokenLimit, tokensPerPeriod }: PlanLimits, tokens: number): boolean {
  return tokenLimit === 'soft' || tokensPerPeriod === null || tokensPerPeriod >= tokens;
}

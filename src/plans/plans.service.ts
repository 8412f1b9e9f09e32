import { Inject, Injectable } from '@nestjs/common';
import { Config, type PlanSettings } from '../platform/config/config.js';
import { InvalidRequest } from '../platform/problems/problems.errors.js';
import { loadPlans } from './plan-file.js';
import { type Plan, type Tier, TIERS } from './plans.js';

@Injectable()
export class PlansService {
  private readonly byTier: Map<Tier, Plan>;
  private readonly byName: Map<string, Plan>;
  private readonly tiersOfProducts: Map<string, Tier>;

  constructor(@Inject(Config) settings: PlanSettings) {
    const { plans, aliases } = loadPlans(settings);
    this.byTier = new Map(plans.map((plan) => [plan.tier, plan]));
    this.byName = new Map<string, Plan>([
      ...this.byTier,
      ...Object.entries(aliases).map(([alias, tier]) => [alias, this.get(tier)] as const),
    ]);
    this.tiersOfProducts = new Map(
      plans.flatMap(({ tier, products }) =>
        Object.entries(products).flatMap(([provider, ids]) => ids.map((id) => [productKey(provider, id), tier] as const)),
      ),
    );
  }

  list(): Plan[] {
    return [...this.byTier.values()];
  }

  get(tier: Tier): Plan {
    return this.byTier.get(tier)!;
  }

  find(nameOrAlias: string): Plan | undefined {
    return this.byName.get(nameOrAlias);
  }

  /** @throws {InvalidRequest} for a name that is neither a tier nor an alias */
  require(nameOrAlias: string): Plan {
    const plan = this.find(nameOrAlias);
    if (plan !== undefined) return plan;
    throw new InvalidRequest({ errors: [{ field: 'tier', message: `tier must be one of ${TIERS.join(', ')}` }] });
  }

  tierOfProduct(provider: string, productId: string | null): Tier | undefined {
    return productId === null ? undefined : this.tiersOfProducts.get(productKey(provider, productId));
  }

  tiersWithFeature(feature: string): Tier[] {
    return TIERS.filter((tier) => this.get(tier).limits.features.includes(feature));
  }
}

function productKey(provider: string, productId: string): string {
  return `${provider}:${productId}`;
}

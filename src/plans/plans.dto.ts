import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { BILLING_PROVIDERS, type BillingProviderName, type Plan, type PlanLimits, type Tier, TIERS } from './plans.js';

@ApiSchema({ description: 'The limits and features of a plan. A limit of null means no limit.' })
export class PlanLimitsResponse {
  /** Tokens in a usage period. @example 5000000 */
  @ApiProperty({ type: 'integer' })
  tokensPerPeriod!: number | null;

  /** `hard`: usage stops at the limit of tokens; `soft`: usage continues. @example "hard" */
  @ApiProperty({ enum: ['hard', 'soft'] })
  tokenLimit!: 'hard' | 'soft';

  /** Calls in a minute that record usage or ask for a hold; a batch is one. @example 5000 */
  @ApiProperty({ type: 'integer' })
  requestsPerMinute!: number | null;

  /** Tokens in a minute, of events that happened in it and of holds. @example 1000000 */
  @ApiProperty({ type: 'integer' })
  tokensPerMinute!: number | null;

  /** Included members. @example 25 */
  @ApiProperty({ type: 'integer' })
  seats!: number | null;

  /** Whether each member needs a paid seat. @example false */
  perSeat!: boolean;

  /** The features of the plan. @example ["audit_log", "usage_export"] */
  features!: string[];

  static of({ tokensPerPeriod, tokenLimit, requestsPerMinute, tokensPerMinute, seats, perSeat, features }: PlanLimits): PlanLimitsResponse {
    return { tokensPerPeriod, tokenLimit, requestsPerMinute, tokensPerMinute, seats, perSeat, features };
  }
}

@ApiSchema({ description: 'A product that buys a plan.' })
export class PlanProductResponse {
  /** The provider that sells it. @example "dodo" */
  @ApiProperty({ enum: BILLING_PROVIDERS })
  provider!: BillingProviderName;

  /** The provider's id of the product. @example "pdt_0NXkTnYHjtKIqNGVjvCzF" */
  productId!: string;
}

@ApiSchema({ description: 'A plan: its name, limits and products.' })
export class PlanResponse {
  /** The tier of the plan. @example "pro" */
  @ApiProperty({ enum: TIERS })
  tier!: Tier;

  /** The name to show to people. @example "Pro" */
  name!: string;

  /** The audience of the plan. @example "For a team that works with it every day." */
  description!: string;

  /** The limits and features. */
  limits!: PlanLimitsResponse;

  /** The products that buy the plan. */
  products!: PlanProductResponse[];

  static of({ tier, name, description, limits, products }: Plan): PlanResponse {
    return {
      tier,
      name,
      description,
      limits: PlanLimitsResponse.of(limits),
      products: BILLING_PROVIDERS.flatMap((provider) => products[provider].map((productId) => ({ provider, productId }))),
    };
  }
}

@ApiSchema({ description: 'All plans.' })
export class PlanListResponse {
  /** The plans, the smallest first. */
  data!: PlanResponse[];

  /** Always null: there are few plans. */
  nextCursor!: string | null;
}

import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { BILLING_PROVIDERS, type BillingProviderName, type Plan, type PlanLimits, type Tier, TIERS } from './plans.js';

@ApiSchema({ description: 'What a plan allows. Where a number is null, there is no limit.' })
export class PlanLimitsResponse {
  /** Tokens in a month. @example 5000000 */
  @ApiProperty({ type: 'integer' })
  tokensPerPeriod!: number | null;

  /** `hard`: usage stops at the tokens of the month; `soft`: it goes on. @example "hard" */
  @ApiProperty({ enum: ['hard', 'soft'] })
  tokenLimit!: 'hard' | 'soft';

  /** Calls in a minute that record usage or ask for a hold; a batch is one. @example 5000 */
  @ApiProperty({ type: 'integer' })
  requestsPerMinute!: number | null;

  /** Tokens in a minute, of events that happened in it and of holds. @example 1000000 */
  @ApiProperty({ type: 'integer' })
  tokensPerMinute!: number | null;

  /** Members that are included. @example 25 */
  @ApiProperty({ type: 'integer' })
  seats!: number | null;

  /** Whether each member is a seat that is paid for. @example false */
  perSeat!: boolean;

  /** What the plan has that others may lack. @example ["audit_log", "usage_export"] */
  features!: string[];

  static of({ tokensPerPeriod, tokenLimit, requestsPerMinute, tokensPerMinute, seats, perSeat, features }: PlanLimits): PlanLimitsResponse {
    return { tokensPerPeriod, tokenLimit, requestsPerMinute, tokensPerMinute, seats, perSeat, features };
  }
}

@ApiSchema({ description: 'A product through which a plan is bought.' })
export class PlanProductResponse {
  /** Who sells it. @example "dodo" */
  @ApiProperty({ enum: BILLING_PROVIDERS })
  provider!: BillingProviderName;

  /** Its id there. @example "pdt_0NXkTnYHjtKIqNGVjvCzF" */
  productId!: string;
}

@ApiSchema({ description: 'A plan: what it is called, and what it allows.' })
export class PlanResponse {
  /** Which of the plans it is. @example "pro" */
  @ApiProperty({ enum: TIERS })
  tier!: Tier;

  /** Its name for people. @example "Pro" */
  name!: string;

  /** Whom it is for. @example "For a team that works with it every day." */
  description!: string;

  /** What it allows. */
  limits!: PlanLimitsResponse;

  /** Through which products it is bought. */
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

/** Smallest first. */
export const TIERS = ['free', 'pro', 'business'] as const;
export type Tier = (typeof TIERS)[number];

export const BILLING_PROVIDERS = ['polar', 'dodo'] as const;
export type BillingProviderName = (typeof BILLING_PROVIDERS)[number];

export interface PlanLimits {
  /** Per month. Null: no limit. */
  tokensPerPeriod: number | null;
  /** `hard` stops usage at the limit. */
  tokenLimit: 'hard' | 'soft';
  /** Null: no limit. */
  requestsPerMinute: number | null;
  /** Null: no limit. */
  tokensPerMinute: number | null;
  /** Included members. Null: no limit. */
  seats: number | null;
  /** A seat is bought for each member. */
  perSeat: boolean;
  features: string[];
}

export interface Plan {
  tier: Tier;
  name: string;
  description: string;
  limits: PlanLimits;
  /** `end` ends access when the payment of the current period is refunded in full or its dispute is lost. */
  onRefund: 'keep' | 'end';
  products: Record<BillingProviderName, string[]>;
}

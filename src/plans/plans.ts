/** Smallest first. */
export const TIERS = ['free', 'pro', 'business'] as const;
export type Tier = (typeof TIERS)[number];

export const BILLING_PROVIDERS = ['polar', 'dodo'] as const;
export type BillingProviderName = (typeof BILLING_PROVIDERS)[number];

export interface PlanLimits {
  /** Null in any limit: no limit. */
  tokensPerPeriod: number | null;
  tokenLimit: 'hard' | 'soft';
  requestsPerMinute: number | null;
  tokensPerMinute: number | null;
  seats: number | null;
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

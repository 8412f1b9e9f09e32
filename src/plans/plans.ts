/** Worst first. */
export const TIERS = ['free', 'pro', 'business'] as const;
export type Tier = (typeof TIERS)[number];

export const BILLING_PROVIDERS = ['polar', 'dodo'] as const;
export type BillingProviderName = (typeof BILLING_PROVIDERS)[number];

export interface PlanLimits {
  /** The period is a month; null: no limit. */
  tokensPerPeriod: number | null;
  /** Whether usage stops at that limit. */
  tokenLimit: 'hard' | 'soft';
  /** Null: no limit. */
  requestsPerMinute: number | null;
  /** Null: no limit. */
  tokensPerMinute: number | null;
  /** Included ones; null: no limit. */
  seats: number | null;
  /** Seats are bought, and follow the memberships. */
  perSeat: boolean;
  features: string[];
}

export interface Plan {
  tier: Tier;
  name: string;
  description: string;
  limits: PlanLimits;
  /** Whether access ends when the payment of the current period is refunded in full, or a dispute about it is lost. */
  onRefund: 'keep' | 'end';
  products: Record<BillingProviderName, string[]>;
}

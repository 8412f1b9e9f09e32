import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsIn, IsString, Length, MaxLength, ValidateIf } from 'class-validator';
import { whenGiven } from '../../platform/http/bodies/transforms.js';
import { BILLING_PROVIDERS, type BillingProviderName } from '../../plans/plans.js';
import type { OpenedCheckout } from './checkout.service.js';

@ApiSchema({ description: 'The plan to buy.' })
export class CheckoutRequest {
  /** The plan, by its tier or an alias. @example "pro" */
  @IsString()
  @Length(1, 100)
  tier!: string;

  /** One of several products of the plan, such as the yearly one. @example "pdt_R8AWMPiV2lSwpmPDhhgo6" */
  @ValidateIf(whenGiven)
  @IsString()
  @Length(1, 255)
  productId?: string;

  /** The provider; by default the first one that sells the plan. */
  @ApiProperty({ enum: BILLING_PROVIDERS, required: false, description: 'The billing provider.', example: 'polar' })
  @ValidateIf(whenGiven)
  @IsIn(BILLING_PROVIDERS)
  provider?: BillingProviderName;

  /** The page to open afterwards, on one of the trusted origins. @example "https://app.example.com/billing" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(2000)
  successUrl?: string;
}

@ApiSchema({ description: 'A checkout.' })
export class CheckoutResponse {
  /** Send the browser there. @example "https://sandbox.polar.sh/checkout/polar_c_1" */
  url!: string;

  /** The provider that was chosen. */
  @ApiProperty({ enum: BILLING_PROVIDERS, example: 'polar' })
  provider!: BillingProviderName;

  /** When the address expires. */
  expiresAt!: Date | null;

  static of({ url, provider, expiresAt }: OpenedCheckout): CheckoutResponse {
    return { url, provider, expiresAt };
  }
}

@ApiSchema({ description: 'A request for the portal.' })
export class PortalRequest {
  /** The page to open afterwards, on one of the trusted origins. @example "https://app.example.com/billing" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(2000)
  returnUrl?: string;
}

@ApiSchema({ description: 'The portal of the provider.' })
export class PortalResponse {
  /** Send the browser there. The address signs its visitor in, so use it at once and do not share it. @example "https://polar.sh/acme/portal?token=polar_cst_1" */
  url!: string;

  static of({ url }: { url: string }): PortalResponse {
    return { url };
  }
}

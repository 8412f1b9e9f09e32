import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import type { Account } from './accounts.table.js';

@ApiSchema({ description: 'A way to sign in: a password or a linked provider.' })
export class AccountResponse {
  /** The account's id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** `credential` is a password. @example "google" */
  provider!: string;

  /** The provider's id of the person. @example "108204268033311374519" */
  providerAccountId!: string;

  /** When it was linked. */
  createdAt!: Date;

  static of({ id, provider, providerAccountId, createdAt }: Account): AccountResponse {
    return { id, provider, providerAccountId, createdAt };
  }
}

@ApiSchema({ description: 'All ways to sign in.' })
export class AccountListResponse {
  /** The accounts, oldest first. */
  data!: AccountResponse[];

  /** Always null: a person has few accounts. */
  nextCursor!: string | null;
}

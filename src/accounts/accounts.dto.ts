import type { Account } from './accounts.table.js';

export class AccountResponse {
  /** @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  id!: string;

  /** `credential` is a password. @example "google" */
  provider!: string;

  /** The provider's id of the person. @example "108204268033311374519" */
  providerAccountId!: string;

  createdAt!: Date;

  static of({ id, provider, providerAccountId, createdAt }: Account): AccountResponse {
    return { id, provider, providerAccountId, createdAt };
  }
}

export class AccountListResponse {
  data!: AccountResponse[];

  /** Always null: a person has few accounts. */
  nextCursor!: string | null;
}

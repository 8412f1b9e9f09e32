import { Injectable } from '@nestjs/common';
import { Keyring } from '../platform/crypto/keyring.service.js';

const CONTEXT = 'accounts.token';
const TOKENS = ['accessToken', 'refreshToken', 'idToken'] as const;

type WithTokens = Partial<Record<(typeof TOKENS)[number], unknown>>;

/** Encrypts and decrypts the provider tokens of an account. Null and missing tokens stay as they are. */
@Injectable()
export class ProviderTokens {
  constructor(private readonly keyring: Keyring) {}

  encrypt<T extends object>(account: T): T {
    return this.map(account, (token) => this.keyring.encrypt(token, CONTEXT));
  }

  decrypt<T extends object>(account: T): T {
    return this.map(account, (token) => this.keyring.decrypt(token, CONTEXT));
  }

  reencrypt<T extends object>(account: T): T {
    return this.map(account, (token) => this.keyring.renew(token, CONTEXT));
  }

  get keyId(): string {
    return this.keyring.newestKeyId;
  }

  private map<T extends object>(account: T, change: (token: string) => string): T {
    const given = account as WithTokens;
    const changed = TOKENS.flatMap((name) => (typeof given[name] === 'string' ? [[name, change(given[name])] as const] : []));
    return { ...account, ...Object.fromEntries(changed) };
  }
}

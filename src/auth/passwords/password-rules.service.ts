import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { Injectable } from '@nestjs/common';
import { Config } from '../../platform/config/config.js';
import { WeakPassword } from '../auth.errors.js';
import { PASSWORD_LENGTH } from './is-password.js';

const require = createRequire(import.meta.url);

/** 49,233 passwords from breaches, as plain JSON. Passwords shorter than our minimum are left out. */
const COMMON_PASSWORDS = require.resolve('@zxcvbn-ts/language-common/src/passwords.json');

/** Shorter names occur in too many good passwords. */
const MIN_NAME_LENGTH = 4;

/** Refuses weak new passwords. Existing ones keep working (docs/passwords.md). */
@Injectable()
export class PasswordRules {
  private readonly productNames: readonly string[];
  private common?: Promise<ReadonlySet<string>>;

  constructor({ mailFrom }: Config) {
    const sender = /^\s*"?([^"<]*?)"?\s*</.exec(mailFrom)?.[1] ?? '';
    this.productNames = ['Tenantry', sender];
  }

  async require(password: string, email: string | null): Promise<void> {
    const plain = fold(password);
    const [local = ''] = email?.split('@', 1) ?? [];
    const isName = [...this.productNames, email ?? '', local].some((name) => isMadeFrom(plain, fold(name)));
    if (plain === '' || isName || (await this.commonPasswords()).has(plain)) throw new WeakPassword();
  }

  /** Read when the first password is set. A failed read is tried again. */
  private commonPasswords(): Promise<ReadonlySet<string>> {
    this.common ??= readCommonPasswords().catch((error: unknown) => {
      this.common = undefined;
      throw error;
    });
    return this.common;
  }
}

async function readCommonPasswords(): Promise<ReadonlySet<string>> {
  const all = JSON.parse(await readFile(COMMON_PASSWORDS, 'utf8')) as string[];
  return new Set(all.filter((password) => password.length >= PASSWORD_LENGTH.min).map(fold));
}

/** Removes differences that the eye does not see: case, compatibility forms, invisible characters, outer spaces. */
function fold(text: string): string {
  return text
    .normalize('NFKC')
    .replaceAll(/\p{Default_Ignorable_Code_Point}/gu, '')
    .toLowerCase()
    .trim();
}

/** True for `Tenantry`, and for `Tenantry2026!` with digits and signs around the name. */
function isMadeFrom(password: string, name: string): boolean {
  if (password === name) return true;
  const core = lettersOf(name);
  return core.length >= MIN_NAME_LENGTH && lettersOf(password) === core;
}

function lettersOf(text: string): string {
  return text.replaceAll(/^[^\p{L}]+|[^\p{L}]+$/gu, '');
}

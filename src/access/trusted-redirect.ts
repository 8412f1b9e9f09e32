import { applyDecorators } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsString, MaxLength } from 'class-validator';
import type { Config } from '../platform/config/config.js';
import { isTrustedOrigin } from '../platform/config/trusted-origins.js';
import { UntrustedRedirect } from './access.errors.js';

/** Resolves a path on this host, or a URL of a trusted origin, to a full URL. @throws {UntrustedRedirect} */
export function trustedRedirect(
  { publicUrl, trustedOrigins }: Pick<Config, 'publicUrl' | 'trustedOrigins'>,
  target: string | undefined,
): string | undefined {
  if (target === undefined || target === '') return undefined;
  if (!URL.canParse(target, publicUrl)) throw new UntrustedRedirect();
  const url = new URL(target, publicUrl);
  if (!isTrustedUrl(trustedOrigins, url)) throw new UntrustedRedirect();
  return url.href;
}

/**
 * Validates a redirect target. Browsers read a backslash as a slash, other clients would see another host, so a URL
 * with a backslash is normalised as browsers read it.
 */
export const IsRedirect = (): PropertyDecorator =>
  applyDecorators(
    Transform(({ value }: { value: unknown }) =>
      typeof value === 'string' && value.includes('\\') ? (URL.parse(value)?.href ?? value) : value,
    ),
    IsString(),
    MaxLength(2000),
    ApiProperty({ format: 'uri-reference', maxLength: 2000 }),
  );

export function isTrustedUrl(trusted: readonly string[], { origin, protocol }: URL): boolean {
  // A blob: URL has the origin of its page.
  return /^https?:$/.test(protocol) && isTrustedOrigin(trusted, origin);
}

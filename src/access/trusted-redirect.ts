import type { Config } from '../config/config.js';
import { isTrustedOrigin } from '../config/trusted-origins.js';
import { UntrustedRedirect } from './access.errors.js';

/**
 * A path on this host, or an address of an origin we trust, written out in full.
 *
 * @throws {UntrustedRedirect}
 */
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

export function isTrustedUrl(trusted: readonly string[], { origin, protocol }: URL): boolean {
  // A blob: has the origin of its page.
  return /^https?:$/.test(protocol) && isTrustedOrigin(trusted, origin);
}

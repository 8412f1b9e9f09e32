import type { Config } from '../config/config.js';
import { UntrustedRedirect } from './access.errors.js';

/**
 * Lets through a path on this host, and addresses of origins we trust.
 *
 * @throws {UntrustedRedirect}
 */
export function requireTrustedRedirect(
  { publicUrl, trustedOrigins }: Pick<Config, 'publicUrl' | 'trustedOrigins'>,
  target: string | undefined,
): void {
  if (target === undefined) return;
  if (!URL.canParse(target, publicUrl) || !trustedOrigins.includes(new URL(target, publicUrl).origin)) throw new UntrustedRedirect();
}

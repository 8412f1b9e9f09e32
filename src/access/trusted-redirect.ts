import type { Config } from '../config/config.js';
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
  const { origin, protocol, href } = new URL(target, publicUrl);
  // A blob: has the origin of its page.
  if (!/^https?:$/.test(protocol) || !trustedOrigins.includes(origin)) throw new UntrustedRedirect();
  return href;
}

import { isIPv4, isIPv6 } from 'node:net';
import type { Express, Request } from 'express';
import ipaddr from 'ipaddr.js';

/** An IPv6 address with brackets, zone and port is shorter. */
const MAX_LENGTH = 100;

/** Ranges of IPv6 whose last 32 bits are an IPv4 address: mapped, NAT64 (RFC 6052) and stateless translation (RFC 6145). */
const EMBEDS_IPV4 = new Set(['ipv4Mapped', 'rfc6052', 'rfc6145']);

/** Returns one spelling for each host: no port, no zone, shortest IPv6, and IPv4 where IPv6 only carries it. */
export function normalizeAddress(text: string | undefined): string | undefined {
  if (text === undefined || text.length > MAX_LENGTH) return undefined;
  const host = withoutPort(text.trim());
  if (isIPv4(host)) return host;
  const address = parseIPv6(host);
  if (address === undefined) return undefined;
  return EMBEDS_IPV4.has(address.range()) ? ipv4In(address, 6) : address.toString();
}

interface WithClientAddress extends Pick<Request, 'ip'> {
  clientAddress?: string | undefined;
}

/** Kept with the request, because Express reads the headers and asks for the trusted proxies at each access. */
export function clientAddressOf(request: WithClientAddress): string | undefined {
  return (request.clientAddress ??= normalizeAddress(request.ip));
}

/** Sets Express's `trust proxy`. Express compares addresses as text, and a proxy may send its port along. */
export function trustProxies(express: Express, trusted: boolean | number | string[]): void {
  express.set('trust proxy', trusted);
  const isTrusted = express.get('trust proxy fn') as (address: string, hop: number) => boolean;
  express.set('trust proxy', (address: string, hop: number) => isTrusted(normalizeAddress(address) ?? address, hop));
}

/** Returns the block one subscriber has: an IPv4 address (also for 6to4, which has 65,536 blocks), or an IPv6 /64. */
export function addressBlockOf(address: string | undefined): string {
  if (address === undefined) return 'unknown';
  const parsed = parseIPv6(address);
  if (parsed === undefined) return address;
  if (parsed.range() === '6to4') return ipv4In(parsed, 1);
  const network = parsed.parts.slice(0, 4).map((part) => part.toString(16));
  return `${network.join(':')}::/64`;
}

function withoutPort(text: string): string {
  return /^\[([^\]]+)\](?::\d{1,5})?$/.exec(text)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(text)?.[1] ?? text;
}

function parseIPv6(text: string): ipaddr.IPv6 | undefined {
  const [host = ''] = text.split('%', 1);
  if (!isIPv6(host)) return undefined;
  // As a URL writes it: ipaddr.js cannot read every address that ends in a dotted IPv4 address.
  return ipaddr.IPv6.parse(new URL(`http://[${host}]`).hostname.slice(1, -1));
}

function ipv4In({ parts }: ipaddr.IPv6, from: number): string {
  return parts
    .slice(from, from + 2)
    .flatMap((part) => [part >> 8, part & 0xff])
    .join('.');
}

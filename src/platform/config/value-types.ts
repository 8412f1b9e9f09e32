import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { originPattern } from './trusted-origins.js';

/** `limit` requests in `windowSeconds`; spent ones come back evenly over the window. */
export interface RateLimit {
  limit: number;
  windowSeconds: number;
}

export const text = z.string();

export const list = z.string().transform((entries) =>
  entries
    .split(',')
    .map((entry) => entry.trim())
    .filter(Boolean),
);

export const choice = <const T extends string[]>(...values: T) => z.enum(values, `must be one of ${values.join(', ')}`);

export const onOrOff = choice('on', 'off').transform((value) => value === 'on');

/** Fractions are fine: half a day, a tenth of a second. */
export function amount(unit: string, min: number, max?: number) {
  const error = `must be a number of ${unit}, ${range(min, max)}`;
  return z.coerce
    .number(error)
    .min(min, error)
    .max(max ?? Infinity, error);
}

export function wholeNumber(unit: string, min: number, max?: number) {
  const error = `must be a whole number of ${unit}, ${range(min, max)}`;
  return z.coerce
    .number(error)
    .int(error)
    .min(min, error)
    .max(max ?? Infinity, error);
}

const SHARE_RANGE = 'must be a number from 0 to 1';

export const share = z.coerce.number(SHARE_RANGE).min(0, SHARE_RANGE).max(1, SHARE_RANGE);

function range(min: number, max?: number): string {
  return max === undefined ? `at least ${min}` : `from ${min} to ${max}`;
}

const PORT_RANGE = 'must be a port, from 0 to 65535';

export const port = z.coerce.number(PORT_RANGE).int(PORT_RANGE).min(0, PORT_RANGE).max(65_535, PORT_RANGE);

export const httpUrl = z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' });

/** Without a slash at its end, so that a path can follow. */
export const baseUrl = httpUrl.transform((url) => url.replace(/\/$/, ''));

/** What follows the host is dropped. */
export const origin = httpUrl.transform((url) => new URL(url).origin);

export const postgresUrl = z.url({ protocol: /^postgres(ql)?$/, error: 'must be a postgres:// URL' });

/** As a path. */
export const folderUrl = z
  .url({ protocol: /^file$/, hostname: /^$/, error: 'must be a file:///… URL of a folder' })
  .transform((url) => fileURLToPath(url));

export const smtpUrl = z.url({ protocol: /^smtps?$/, error: 'must be an smtp:// or smtps:// URL' });

export const rateLimit = z
  .string()
  .regex(/^[1-9]\d{0,8}\/[1-9]\d{0,6}$/, 'must be requests/seconds, for example 1000/60')
  .transform((written): RateLimit => {
    const [limit, windowSeconds] = written.split('/').map(Number) as [number, number];
    return { limit, windowSeconds };
  });

const trustedOrigin = z.string().transform((entry, context) => {
  const pattern = originPattern(entry);
  if (pattern === undefined)
    context.addIssue({ code: 'custom', message: 'must be an http(s) URL, or https://*.example.com for every host one label below' });
  return pattern ?? z.NEVER;
});

export const trustedOrigins = list.pipe(z.array(trustedOrigin));

/** Clerk's `azp` is an origin for browsers and something else for extensions: only wildcards are checked. */
const authorizedParty = z
  .string()
  .refine((party) => !party.includes('*') || originPattern(party) !== undefined, 'may have a wildcard only as in https://*.example.com');

export const authorizedParties = list.pipe(z.array(authorizedParty));

/** Addresses, subnets and the names that Express knows. A prefix of 0 would trust what every client says about itself. */
const proxy = z
  .union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6(), z.enum(['loopback', 'linklocal', 'uniquelocal'])])
  .refine((entry) => !entry.endsWith('/0'));

export const trustedProxies = list.transform((entries, context): number | string[] => {
  const [first = ''] = entries;
  if (entries.length === 1 && /^(\d|10)$/.test(first)) return Number(first);
  if (!entries.every((entry) => proxy.safeParse(entry).success)) {
    context.addIssue({
      code: 'custom',
      message: 'must be the number of proxies in front (0 to 10), or their addresses and subnets, for example 10.0.0.0/8',
    });
  }
  return entries;
});

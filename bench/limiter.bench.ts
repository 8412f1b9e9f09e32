import { createApiKey } from '../src/access/credentials/api-key-tokens.js';
import { bearer, load, type Path, ROUND_MS, type sendLoad } from './support/contest.js';
import { type BenchDatabase, inEach } from './support/database.js';
import { withPrograms } from './support/program.js';
import { heading, note, verdict } from './support/report.js';
import { TENANTS, tenantOf } from './support/seed.js';
import { ownUsage, seedTenants } from './usage.bench.js';

/** Three calls a second of each caller: 180 of 1,000 a minute. */
const RATE = 3072;

interface Callers {
  name: string;
  path: Path;
  headers: NonNullable<Parameters<typeof sendLoad>[2]['headers']>;
}

/** The statements of the rate limit in steady state, for each kind of caller, with the limit that is the default. */
export async function limiter(db: BenchDatabase): Promise<void> {
  heading('limiter', 'statements of the rate limit, from 1,024 callers who call all the time and stay below the default limit');
  await seedTenants(db);
  const keys = await seedApiKeys(db);
  const kinds: Callers[] = [
    { name: 'sessions', path: '/v1/users/me', headers: bearer },
    {
      name: 'API keys',
      path: (caller) => `${ownUsage(caller)}/quota`,
      headers: (caller) => ({ 'x-api-key': keys[caller % TENANTS]! }),
    },
    {
      name: 'signed-out callers',
      path: '/v1/plans',
      headers: (caller) => ({ 'x-forwarded-for': `198.18.${caller >> 8}.${caller & 255}` }),
    },
  ];
  await withPrograms(db, async ({ tenantry }) => {
    const app = await tenantry({ environment: { RATE_LIMIT_API: '1000/60', TRUST_PROXY: '1' } });
    for (const { name, path, headers } of kinds) {
      await load(app.url, path, { milliseconds: ROUND_MS, headers, rate: RATE });
      const before = (await app.usage()).limiterStatements;
      const { answered, seconds } = await load(app.url, path, { milliseconds: 3 * ROUND_MS, headers, rate: RATE });
      const sent = (await app.usage()).limiterStatements - before;
      note(`${name}: ${Math.round(answered / seconds)} requests a second, ${sent} statements for ${answered}`);
      verdict({ what: `limiter statements a request, ${name}`, measured: sent / answered, goal: { atMost: 0.1 } });
    }
  });
}

/** A key for each tenant of the usage benches. */
async function seedApiKeys(db: BenchDatabase): Promise<string[]> {
  const created = Array.from({ length: TENANTS }, () => createApiKey(true));
  const rows = created.map(
    ({ prefix, hash }, tenant) =>
      `(gen_random_uuid(), '${tenantOf(tenant)}', gen_random_uuid(), 'bench', '${prefix}', '${hash}', '{usage:read}')`,
  );
  await inEach(db, `INSERT INTO api_keys (id, organization_id, created_by, name, prefix, hash, scopes) VALUES ${rows.join(', ')}`);
  return created.map(({ key }) => key);
}

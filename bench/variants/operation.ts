import { AccessRepository } from '../../src/access/access.repository.js';
import { RateLimitsRepository } from '../../src/access/rate-limits/rate-limits.repository.js';
import { hashSessionToken } from '../../src/access/credentials/session-tokens.js';
import { loadConfig } from '../../src/platform/config/config.js';
import { createDatabase } from '../../src/platform/database/database.js';
import { UsersRepository } from '../../src/users/users.repository.js';
import { given, offer } from '../support/variant.js';
import { typicalAuth } from '../support/better-auth.js';
import { AUTH_SECRET, bearerOf, tokenOf, userIdOf } from '../support/seed.js';

const { databaseUrl, operation } = given() as { databaseUrl: string; operation: keyof typeof operations };

const config = loadConfig({
  DATABASE_URL: databaseUrl,
  AUTH_SECRET,
  ENCRYPTION_KEYS: `bench:${Buffer.alloc(32, 7).toString('base64')}`,
  RATE_LIMIT_API: '1000000/60',
});
const db = createDatabase(config);
const access = new AccessRepository(db, config);
const rateLimits = new RateLimitsRepository(db);
const users = new UsersRepository(db);

const SESSION = `SELECT s.id, s.user_id, u.operator, u.suspended_at
  FROM sessions s JOIN users u ON u.id = s.user_id
 WHERE s.token = $1 AND s.expires_at > now() AND s.ended_at IS NULL AND u.deleted_at IS NULL`;
const USER = `SELECT id, clerk_user_id, email, email_verified, email_verified_at, name, username, image_url, operator, suspended_at,
       deleted_at, created_at, updated_at
  FROM users WHERE id = $1 AND deleted_at IS NULL`;
const raw = async (name: string, text: string, value: string) => db.$client.query({ name, text, values: [value] }) as Promise<unknown>;

const operations = {
  session: () => (turn: number) => access.findSession(hashSessionToken(tokenOf(turn))),
  handWrittenSession: () => (turn: number) => raw('session', SESSION, hashSessionToken(tokenOf(turn))),
  betterAuthSession: () => {
    const { auth } = typicalAuth(databaseUrl);
    return (turn: number) =>
      auth.api.getSession({ headers: new Headers({ cookie: `better-auth.session_token=${encodeURIComponent(bearerOf(turn))}` }) });
  },
  spend: () => (turn: number) => rateLimits.consume({ key: `api:${userIdOf(turn)}`, policy: config.apiRateLimit }),
  user: () => (turn: number) => users.findById(userIdOf(turn)),
  handWrittenUser: () => (turn: number) => raw('user', USER, userIdOf(turn)),
};

const repeated = operations[operation]();
if ((await repeated(0)) == null) throw new Error(`${operation} finds nothing`);
offer(repeated);

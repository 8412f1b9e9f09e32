import type { AddressInfo } from 'node:net';
import type { NestExpressApplication } from '@nestjs/platform-express';
import supertest from 'supertest';
import { loadConfig } from '../../src/platform/config/config.js';
import { Passwords } from '../../src/auth/passwords/passwords.service.js';
import { createApp } from '../../src/create-app.js';
import { asAppRole, createTestDatabase, type TestDatabase } from './database.js';

export interface TestApp {
  app: NestExpressApplication;
  url: string;
  db: TestDatabase;
  /** Real HTTP against the running application. */
  http: ReturnType<typeof supertest>;
  close(): Promise<void>;
}

/** The default configuration of tests: every feature on, high limits. */
export function testEnvironment(databaseUrl: string): Record<string, string> {
  return {
    NODE_ENV: 'test',
    DATABASE_URL: asAppRole(databaseUrl),
    DATABASE_DIRECT_URL: databaseUrl,
    DATABASE_WAIT_SECONDS: '0',
    PUBLIC_URL: 'http://localhost:3000',
    AUTH_SECRET: 'a test secret that is long enough to be one',
    ENCRYPTION_KEYS: `test:${Buffer.alloc(32, 7).toString('base64')}`,
    // A busy test machine is slow, and must not refuse requests for that.
    OVERLOAD_TARGET_MS: '600000',
    RATE_LIMIT_API: '1000000/1',
    RATE_LIMIT_USAGE: '1000000/1',
    RATE_LIMIT_AUTH: '1000000/1',
    RATE_LIMIT_SIGN_IN: '1000000/1',
    RATE_LIMIT_MAIL: '1000000/1',
    RATE_LIMIT_MAIL_SENDER: '1000000/1',
    LOG_LEVEL: 'silent',
    SHUTDOWN_DELAY_SECONDS: '0',
  };
}

/** The real application on its own port with its own database. */
export async function startTestApp(environment: Record<string, string> = {}, db?: TestDatabase): Promise<TestApp> {
  const database = db ?? (await createTestDatabase());
  const app = await createApp(loadConfig({ ...testEnvironment(database.url), ...environment }));
  // Each test signs people up, and the cost of production is half a core for a tenth of a second.
  app.get(Passwords, { strict: false }).cost = { memory: 64, passes: 1, parallelism: 1 };
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  return {
    app,
    url,
    db: database,
    http: supertest(url),
    close: async () => {
      await app.close();
      if (db === undefined) await database.drop();
    },
  };
}

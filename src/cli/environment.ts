import path from 'node:path';
import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AppModule } from '../app.module.js';
import { type Config, dropEmptyValues, loadConfig, readEnvironment } from '../platform/config/config.js';
import { DATA_DIRECTORY, EXAMPLE_PRODUCTS, localSecrets } from '../platform/config/local-environment.js';
import { findEmbeddedPostgres, startEmbeddedPostgres } from '../platform/database/embedded/embedded-postgres.js';
import { migrate } from '../platform/database/migrations.js';
import { planMistakes } from '../plans/plan-file.js';

const EMBEDDED_DIRECTORY = path.join(DATA_DIRECTORY, 'postgres');

type Variables = Record<string, string | undefined>;

export interface ResolvedEnvironment {
  config: Config;
  isEmbedded: boolean;
  stop(): Promise<void>;
}

/**
 * Completes the configuration in development with secrets, example products and the embedded PostgreSQL.
 * @param join uses the embedded server of another process if one is running
 */
export async function resolveEnvironment({ join = false } = {}): Promise<ResolvedEnvironment> {
  const variables = readVariables();
  if (variables['NODE_ENV'] === 'production' || variables['DATABASE_URL'] !== undefined)
    return { config: validated(variables), isEmbedded: false, stop: async () => undefined };

  // Before the server starts: a mistake must not leave it running.
  validated({ ...variables, DATABASE_URL: 'postgres://localhost/placeholder' });
  const { databasePassword: password } = localSecrets();
  const running = join ? await findEmbeddedPostgres(EMBEDDED_DIRECTORY, password) : undefined;
  if (running !== undefined) {
    return { config: loadConfig({ ...variables, DATABASE_URL: running }), isEmbedded: true, stop: async () => undefined };
  }
  const server = await startEmbeddedPostgres({ directory: EMBEDDED_DIRECTORY, password });
  return { config: loadConfig({ ...variables, DATABASE_URL: server.url }), isEmbedded: true, stop: () => server.stop() };
}

export function configWithoutDatabase(): Config {
  return validated({ DATABASE_URL: 'postgres://localhost/none', ...readVariables() });
}

/** Runs a command that uses the database, and starts the embedded one if none is running. */
export async function withDatabase(work: (config: Config) => Promise<void>): Promise<void> {
  const environment = await resolveEnvironment({ join: true });
  try {
    await work(environment.config);
  } finally {
    await environment.stop();
  }
}

/** Runs a command that uses the application's services, without its server and its workers. */
export async function withApp(work: (app: INestApplicationContext) => Promise<void>): Promise<void> {
  await withDatabase(async (config) => {
    await migrate(config.databaseDirectUrl);
    const app = await NestFactory.create(AppModule.register(config), { logger: ['error', 'warn'], abortOnError: false });
    try {
      await work(app);
    } finally {
      await app.close();
    }
  });
}

/** The environment, in development with what a developer need not set. */
function readVariables(): Variables {
  const given = dropEmptyValues(readEnvironment());
  if (given['NODE_ENV'] === 'production') return given;
  const { databasePassword: _, ...secrets } = localSecrets();
  // Example events sell example products, besides the products that are configured.
  const examples = `polar:${EXAMPLE_PRODUCTS.polar}=pro,dodo:${EXAMPLE_PRODUCTS.dodo}=business`;
  return { ...secrets, ...given, BILLING_PRODUCTS: [given['BILLING_PRODUCTS'], examples].filter(Boolean).join(',') };
}

/** Reports all mistakes in the variables and in the plan file together. @throws {ConfigError} */
function validated(variables: Variables): Config {
  return loadConfig(variables, planMistakes);
}

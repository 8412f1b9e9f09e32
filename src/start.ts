import path from 'node:path';
import { Logger } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { type Config, ConfigError, dropEmptyValues, loadConfig, readEnvironment } from './platform/config/config.js';
import { DATA_DIRECTORY, EXAMPLE_PRODUCTS, localSecrets } from './platform/config/local-environment.js';
import {
  DirectoryInUse,
  type EmbeddedPostgres,
  findEmbeddedPostgres,
  startEmbeddedPostgres,
} from './platform/database/embedded-postgres.js';
import { migrate } from './platform/database/migrations.js';
import { type Demo, seedDemo } from './demo.js';
import { planMistakes } from './plans/plan-file.js';
import { createApp } from './create-app.js';

const EMBEDDED_DIRECTORY = path.join(DATA_DIRECTORY, 'postgres');
/** For a stop that hangs although its connections were cut. */
const EXIT_AFTER_MS = 5000;

/** The configuration, and the database server that had to be started for it, if one had. */
export interface ResolvedEnvironment {
  config: Config;
  embedded: boolean;
  stop(): Promise<void>;
}

/** The configuration for what needs no database. @throws {ConfigError} */
export function configWithoutDatabase(): Config {
  const environment = dropEmptyValues(readEnvironment());
  const made = environment['NODE_ENV'] === 'production' ? {} : localSecrets();
  return checked({ DATABASE_URL: 'postgres://localhost/none', ...made, ...withExampleProducts(environment) });
}

/**
 * Completes what was not configured, for development: secrets that are made once, and the embedded
 * PostgreSQL. In production nothing is made up.
 *
 * @throws {ConfigError}
 */
export async function resolveEnvironment({ join = false } = {}): Promise<ResolvedEnvironment> {
  const environment = readEnvironment();
  if (environment['NODE_ENV'] === 'production') return { config: checked(environment), embedded: false, stop: async () => undefined };

  const { databasePassword, ...secrets } = localSecrets();
  const completed: Record<string, string | undefined> = { ...secrets, ...withExampleProducts(dropEmptyValues(environment)) };
  if (completed['DATABASE_URL'] !== undefined) return { config: checked(completed), embedded: false, stop: async () => undefined };

  // Mistakes first: they must not leave a server running.
  checked({ ...completed, DATABASE_URL: 'postgres://localhost/placeholder' });
  const running = join ? await findEmbeddedPostgres(EMBEDDED_DIRECTORY, databasePassword) : undefined;
  if (running !== undefined)
    return { config: loadConfig({ ...completed, DATABASE_URL: running }), embedded: true, stop: async () => undefined };
  const server: EmbeddedPostgres = await startEmbeddedPostgres({ directory: EMBEDDED_DIRECTORY, password: databasePassword });
  return { config: loadConfig({ ...completed, DATABASE_URL: server.url }), embedded: true, stop: () => server.stop() };
}

/** Starts the whole thing, and stops it in order at the first signal. */
export async function start(): Promise<void> {
  let around: ResolvedEnvironment | undefined;
  let app: NestExpressApplication | undefined;
  let stopping: Promise<void> | undefined;

  const stop = (code: number, signal?: string): Promise<void> =>
    (stopping ??= (async () => {
      // What hangs must not hang the deployment.
      const { shutdownDelaySeconds = 0, shutdownTimeoutSeconds = 0 } = around?.config ?? {};
      const patience = (shutdownDelaySeconds + shutdownTimeoutSeconds) * 1000;
      setTimeout(() => app?.getHttpServer().closeAllConnections(), patience).unref();
      setTimeout(() => process.exit(1), patience + EXIT_AFTER_MS).unref();
      // The interface leaves the signal out; every implementation takes it.
      await (app as { close(signal?: string): Promise<void> } | undefined)?.close(signal);
      await around?.stop();
      process.exit(code);
    })());
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(0, signal));

  try {
    around = await resolveEnvironment();
    const { config, embedded } = around;
    await migrate(config.databaseDirectUrl);
    app = await createApp(config);
    await app.listen(config.port, config.host);
    welcome(config, embedded ? await seedDemo(app) : undefined);
  } catch (error) {
    if (stopping !== undefined) return;
    report(error);
    await stop(1);
  }
}

/** Says why there was no start; what whoever started it can mend comes without a stack. */
export function report(error: unknown): void {
  const { code, port } = error as { code?: string; port?: number };
  if (error instanceof ConfigError || error instanceof DirectoryInUse) process.stderr.write(`${error.message}\n`);
  else if (code === 'EADDRINUSE') process.stderr.write(`Port ${port} is in use. Stop what uses it, or set PORT to another.\n`);
  else new Logger('Tenantry').fatal(error);
}

function welcome(config: Config, demo: Demo | undefined): void {
  const url = config.publicUrl;
  const lines = [
    '',
    `  Tenantry is listening on ${url}`,
    '',
    ...(config.apiDocs ? [`  API documentation   ${url}/docs`, `  OpenAPI document    ${url}/openapi.json`] : []),
    `  Health, metrics     ${url}/health/ready  ${url}/metrics`,
  ];
  if (demo !== undefined) {
    lines.push(
      '',
      '  Demo users (also in .data/demo.json)',
      ...demo.people.map(({ email, password }) => `    ${email.padEnd(20)} ${password}`),
    );
    if (demo.token !== undefined) lines.push('', '  Try it:', '', `    curl ${url}/v1/users/me -H 'Authorization: Bearer ${demo.token}'`);
  }
  process.stdout.write(`${lines.join('\n')}\n\n`);
}

/** The environment's mistakes and those of the plans, all at once. @throws {ConfigError} */
function checked(environment: Record<string, string | undefined>): Config {
  return loadConfig(environment, planMistakes);
}

/** On a development machine example events buy example products, besides whatever is sold for real. */
function withExampleProducts(environment: Record<string, string | undefined>): Record<string, string | undefined> {
  if (environment['NODE_ENV'] === 'production') return environment;
  const examples = `polar:${EXAMPLE_PRODUCTS.polar}=pro,dodo:${EXAMPLE_PRODUCTS.dodo}=business`;
  return { ...environment, BILLING_PRODUCTS: [environment['BILLING_PRODUCTS'], examples].filter(Boolean).join(',') };
}

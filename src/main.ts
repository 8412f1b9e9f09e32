import { Logger } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { type Demo, seedDemo } from './cli/demo.js';
import { type ResolvedEnvironment, resolveEnvironment } from './cli/environment.js';
import { type Config, ConfigError } from './platform/config/config.js';
import { DirectoryInUse } from './platform/database/embedded/embedded-postgres.js';
import { migrate } from './platform/database/migrations.js';
import { createApp } from './create-app.js';

/** For a stop that hangs although its connections were cut. */
const EXIT_AFTER_MS = 5000;

/** Starts the server, and stops it in order at the first signal. */
async function start(): Promise<void> {
  let environment: ResolvedEnvironment | undefined;
  let app: NestExpressApplication | undefined;
  let stopping: Promise<void> | undefined;

  const stop = (code: number, signal?: string): Promise<void> =>
    (stopping ??= (async () => {
      // A connection or a hook that hangs must not hang the deployment.
      const { shutdownDelaySeconds = 0, shutdownTimeoutSeconds = 0 } = environment?.config ?? {};
      const patienceMs = (shutdownDelaySeconds + shutdownTimeoutSeconds) * 1000;
      setTimeout(() => app?.getHttpServer().closeAllConnections(), patienceMs).unref();
      setTimeout(() => process.exit(1), patienceMs + EXIT_AFTER_MS).unref();
      // Nest's interface omits the signal; every implementation takes it.
      await (app as { close(signal?: string): Promise<void> } | undefined)?.close(signal);
      await environment?.stop();
      process.exit(code);
    })());
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(0, signal));

  try {
    environment = await resolveEnvironment();
    const { config, isEmbedded } = environment;
    await migrate(config.databaseDirectUrl);
    app = await createApp(config);
    await app.listen(config.port, config.host);
    printWelcome(config, isEmbedded ? await seedDemo(app) : undefined);
  } catch (error) {
    if (stopping !== undefined) return;
    report(error);
    await stop(1);
  }
}

/** A mistake that the operator can correct is printed without a stack trace. */
function report(error: unknown): void {
  const { code, port } = error as { code?: string; port?: number };
  if (error instanceof ConfigError || error instanceof DirectoryInUse) process.stderr.write(`${error.message}\n`);
  else if (code === 'EADDRINUSE') process.stderr.write(`Port ${port} is in use. Stop the program that uses it, or set PORT to another.\n`);
  else new Logger('Tenantry').fatal(error);
}

function printWelcome(config: Config, demo: Demo | undefined): void {
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

await start();

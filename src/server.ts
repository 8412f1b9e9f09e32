import type { NestExpressApplication } from '@nestjs/platform-express';
import { type Demo, seedDemo } from './cli/demo.js';
import { type ResolvedEnvironment, resolveEnvironment } from './cli/environment.js';
import { CannotListen, messageOf, reportFailedStart } from './cli/failures.js';
import type { Config } from './platform/config/config.js';
import { waitForDatabase } from './platform/database/availability.js';
import { migrate } from './platform/database/migrations.js';
import { Logs } from './platform/logging/logs.service.js';
import { createApp } from './create-app.js';

/** For a stop that hangs although its connections were cut. */
const EXIT_AFTER_MS = 5000;

type Log = Logs['application'];

/** Starts the server, and stops it in order at the first signal. */
async function start(): Promise<void> {
  let environment: ResolvedEnvironment | undefined;
  let app: NestExpressApplication | undefined;
  let log: Log | undefined;
  let stopping: Promise<void> | undefined;

  const stop = (code: number, signal?: string): Promise<void> =>
    (stopping ??= (async () => {
      if (signal !== undefined) log?.info({ signal }, `Tenantry is stopping after ${signal}`);
      // A connection or a hook that hangs must not hang the deployment.
      const { shutdownDelaySeconds = 0, shutdownTimeoutSeconds = 0 } = environment?.config ?? {};
      const patienceMs = (shutdownDelaySeconds + shutdownTimeoutSeconds) * 1000;
      setTimeout(() => app?.getHttpServer().closeAllConnections(), patienceMs).unref();
      setTimeout(() => process.exit(1), patienceMs + EXIT_AFTER_MS).unref();
      // Nest's interface omits the signal; every implementation takes it.
      await (app as { close(signal?: string): Promise<void> } | undefined)?.close(signal);
      await environment?.stop();
      if (signal !== undefined) log?.info('Tenantry has stopped');
      process.exit(code);
    })());
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(0, signal));

  try {
    environment = await resolveEnvironment();
    const { config, isEmbedded } = environment;
    log = new Logs(config).application;
    log.info({ environment: config.environment, node: process.versions.node }, 'Tenantry is starting');
    await prepareDatabase(config, log);
    app = await createApp(config);
    await app.init();
    await listen(app, config);
    welcome({ config, log, demo: isEmbedded ? await seedDemo(app) : undefined });
  } catch (error) {
    if (stopping !== undefined) return;
    reportFailedStart(error);
    await stop(1);
  }
}

async function prepareDatabase(config: Config, log: Log): Promise<void> {
  const { databaseUrl, databaseDirectUrl, databaseWaitSeconds: seconds } = config;
  const onWait = (error: unknown): void =>
    log.warn({ reason: messageOf(error) }, `The database is unavailable. Waiting up to ${seconds} s`);
  for (const url of new Set([databaseDirectUrl, databaseUrl])) await waitForDatabase(url, { seconds, onWait });
  await migrate(databaseDirectUrl);
}

async function listen(app: NestExpressApplication, config: Config): Promise<void> {
  try {
    await app.listen(config.port, config.host);
  } catch (error) {
    throw new CannotListen(config, error);
  }
}

function welcome({ config, log, demo }: { config: Config; log: Log; demo: Demo | undefined }): void {
  if (config.isProduction) {
    const { publicUrl, host, port } = config;
    log.info({ publicUrl, host, port }, `Tenantry is listening on ${publicUrl}`);
    if (config.smtpUrl === undefined) log.warn('No mail can be sent: set SMTP_URL');
  } else printWelcome(config, demo);
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

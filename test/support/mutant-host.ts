/**
 * Runs one build after the other in one process, so that common imports are loaded once. Receives `{ dist, environment }` and returns `{
 * url }`; receives `{ close: true }` and returns `{ closed: true }`.
 */
import type { AddressInfo } from 'node:net';
import type { NestExpressApplication } from '@nestjs/platform-express';

type Command = { dist: string; environment: Record<string, string> } | { close: true };

let app: NestExpressApplication | undefined;

process.on('message', (command: Command) => {
  execute(command).then(
    (answer) => process.send!(answer),
    (error: unknown) => process.send!({ error: String(error) }),
  );
});

async function execute(command: Command): Promise<object> {
  if ('close' in command) {
    await app?.close();
    return { closed: true };
  }
  const { loadConfig } = (await import(
    `${command.dist}/platform/config/config.js`
  )) as typeof import('../../src/platform/config/config.js');
  const { createApp } = (await import(`${command.dist}/create-app.js`)) as typeof import('../../src/create-app.js');
  app = await createApp(loadConfig(command.environment));
  await app.listen(0, '127.0.0.1');
  return { url: `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}` };
}

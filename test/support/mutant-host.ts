/**
 * Runs one build after the other in a process of its own, by Node itself: what they all import is loaded once.
 * Takes `{ dist, environment }` and answers `{ url }`; takes `{ close: true }` and answers `{ closed: true }`.
 */
import type { AddressInfo } from 'node:net';
import type { NestExpressApplication } from '@nestjs/platform-express';

type Order = { dist: string; environment: Record<string, string> } | { close: true };

let app: NestExpressApplication | undefined;

process.on('message', (order: Order) => {
  obey(order).then(
    (answer) => process.send!(answer),
    (error: unknown) => process.send!({ error: String(error) }),
  );
});

async function obey(order: Order): Promise<object> {
  if ('close' in order) {
    await app?.close();
    return { closed: true };
  }
  const { loadConfig } = (await import(`${order.dist}/platform/config/config.js`)) as typeof import('../../src/platform/config/config.js');
  const { createApp } = (await import(`${order.dist}/create-app.js`)) as typeof import('../../src/create-app.js');
  app = await createApp(loadConfig(order.environment));
  await app.listen(0, '127.0.0.1');
  return { url: `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}` };
}

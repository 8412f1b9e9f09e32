import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ports that systems hand out themselves: one of those could go to another program before it is used. */
const FIRST_PORT = 10_000;
const LAST_PORT = 32_767;
const MAX_ATTEMPTS = 100;

export async function freePort(): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const port = randomInt(FIRST_PORT, LAST_PORT + 1);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
      server.close();
      await once(server, 'close');
      return port;
    } catch (error) {
      if ((error as { code?: string }).code !== 'EADDRINUSE' || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

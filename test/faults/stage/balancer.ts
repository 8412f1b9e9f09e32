import { once } from 'node:events';
import net from 'node:net';

export interface Balancer {
  url: string;
  close(): Promise<void>;
}

/** Passes each connection to the next process that accepts it. */
export async function startBalancer(ports: number[]): Promise<Balancer> {
  const open = new Set<net.Socket>();
  let turn = 0;
  const server = net.createServer((client) => {
    client.on('error', () => undefined);
    open.add(client);
    client.on('close', () => open.delete(client));
    turn += 1;
    const first = turn;
    const tryPort = (attempt: number) => {
      if (attempt === ports.length) {
        client.destroy();
        return;
      }
      const process = net.connect({ host: '127.0.0.1', port: ports[(first + attempt) % ports.length]! });
      const refused = () => tryPort(attempt + 1);
      process.once('error', refused);
      process.once('connect', () => {
        process.off('error', refused);
        process.on('error', () => client.destroy());
        // A killed process ends the client's connection too.
        process.on('close', () => client.destroy());
        client.on('close', () => process.destroy());
        client.pipe(process).pipe(client);
      });
    };
    tryPort(0);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

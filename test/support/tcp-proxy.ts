import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface TcpProxy {
  port: number;
  /** Connections stay open but transfer nothing. */
  pause(): void;
  /** Delays each packet of each direction, until `resume`. */
  delay(ms: number): void;
  /** Closes every connection and refuses new ones. */
  cut(): Promise<void>;
  /** Ends a pause or a cut. Data from a pause is delivered. */
  resume(): Promise<void>;
  close(): Promise<void>;
}

/** A proxy between the application and its database, to make the database unavailable. */
export async function startTcpProxy(target: { host: string; port: number }): Promise<TcpProxy> {
  const sockets = new Set<net.Socket>();
  let paused = false;
  let delayMs = 0;

  const server = net.createServer({ allowHalfOpen: false }, (inner) => {
    const outer = net.connect(target);
    for (const [socket, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      // Later packets wait for delayed ones.
      let delayed: Promise<unknown> | undefined;
      socket.on('data', (chunk) => {
        if (delayMs === 0 && delayed === undefined) {
          other.write(chunk);
          return;
        }
        const mine = (delayed ?? Promise.resolve()).then(() => sleep(delayMs)).then(() => other.write(chunk));
        delayed = mine;
        void mine.then(() => (delayed = delayed === mine ? undefined : delayed));
      });
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      if (paused) socket.pause();
    }
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  await listen(0);
  const { port } = server.address() as net.AddressInfo;
  const stopListening = () => new Promise<void>((resolve) => (server.listening ? server.close(() => resolve()) : resolve()));
  const cut = async () => {
    const stopped = stopListening();
    for (const socket of sockets) socket.resetAndDestroy();
    await stopped;
  };

  return {
    port,
    pause: () => {
      paused = true;
      for (const socket of sockets) socket.pause();
    },
    delay: (ms) => (delayMs = ms),
    cut,
    resume: async () => {
      paused = false;
      delayMs = 0;
      for (const socket of sockets) socket.resume();
      if (!server.listening) await listen(port);
    },
    close: cut,
  };
}

import { connect, type Socket } from 'node:net';

/** A connection on which a test sends any text and reads when it wants. */
export interface RawConnection {
  socket: Socket;
  /** Everything received so far. */
  received(): string;
  /** The statuses of the responses received so far. */
  statuses(): number[];
  /** Resolves when the other side has closed. */
  closed: Promise<void>;
  isClosed(): boolean;
}

export function openConnection(url: string, text: string, { localAddress }: { localAddress?: string } = {}): RawConnection {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), localAddress });
  let received = '';
  let hasClosed = false;
  socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
  // A cut connection may be reset.
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) =>
    socket.once('close', () => {
      hasClosed = true;
      resolve();
    }),
  );
  socket.write(text, 'latin1');
  return {
    socket,
    received: () => received,
    statuses: () => [...received.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status)),
    closed,
    isClosed: () => hasClosed,
  };
}

/** The head of a request with a body, and one byte of the body. */
export function slowBody(headers: Record<string, string> = {}, { path = '/v1/auth/sign-in/email', length = 1000 } = {}): string {
  const lines = Object.entries({ host: 'localhost', 'content-type': 'application/json', 'content-length': String(length), ...headers });
  return `POST ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n{`;
}

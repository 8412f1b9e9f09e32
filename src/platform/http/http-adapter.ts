import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { NestApplicationOptions } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { addressBlockOf, normalizeAddress } from './network-addresses.js';
import { normalizeTarget } from './request-target.js';

const MAX_CONNECTIONS = 10_000;
const MAX_CONNECTIONS_OF_CLIENT = 1000;
/** Connections that the kernel completes before we accept them. Node's 511 overflow when many open at once, and Linux drops the rest in silence. */
const BACKLOG = 4096;
const HEADERS_TIMEOUT_MS = 10_000;
const IDLE_MS = 5000;
/** Longer than proxies keep an idle connection (AWS 60 s, nginx 60 s), so that none sends into a closed one. */
const IDLE_BEHIND_PROXY_MS = 65_000;

interface ServerOptions {
  requestTimeoutMs: number;
  /** All connections come from the proxy. */
  isBehindProxy: boolean;
}

/** Express on a server that bounds connections, and leaves every refusal to us so that all of them look the same. */
export class HttpAdapter extends ExpressAdapter {
  constructor(private readonly serverOptions: ServerOptions) {
    super();
  }

  override initHttpServer(options: NestApplicationOptions): void {
    super.initHttpServer(options);
    const { requestTimeoutMs, isBehindProxy } = this.serverOptions;
    const express = this.getInstance<RequestListener>();
    const serve: RequestListener = (request, response) => {
      normalizeTarget(request);
      express(request, response);
    };
    const server = createServer(
      {
        headersTimeout: Math.min(HEADERS_TIMEOUT_MS, requestTimeoutMs),
        requestTimeout: requestTimeoutMs,
        keepAliveTimeout: isBehindProxy ? IDLE_BEHIND_PROXY_MS : IDLE_MS,
        connectionsCheckingInterval: 1000,
        // Node would respond to a missing Host and an unknown Expect itself, without a body.
        requireHostHeader: false,
      },
      serve,
    );
    server.on('checkExpectation', (request: IncomingMessage, response) => serve(request, response));
    server.maxConnections = MAX_CONNECTIONS;
    if (!isBehindProxy) boundConnections(server);
    this.setHttpServer(server);
  }

  override listen(port: string | number, ...rest: [callback?: () => void] | [hostname: string, callback?: () => void]): Server {
    const [host, listening] = typeof rest[0] === 'string' ? rest : [undefined, rest[0]];
    return (this.getHttpServer() as Server).listen({ port: Number(port), host, backlog: BACKLOG }, listening as () => void);
  }
}

function boundConnections(server: Server): void {
  const open = new Map<string, number>();
  server.on('connection', (socket) => {
    const client = addressBlockOf(normalizeAddress(socket.remoteAddress));
    const count = (open.get(client) ?? 0) + 1;
    open.set(client, count);
    socket.once('close', () => {
      const left = open.get(client)! - 1;
      if (left === 0) open.delete(client);
      else open.set(client, left);
    });
    if (count > MAX_CONNECTIONS_OF_CLIENT) socket.destroy();
  });
}

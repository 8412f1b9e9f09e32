import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { type NestApplicationOptions, StreamableFile } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import type { CorsOptions } from '@nestjs/common/interfaces/external/cors-options.interface.js';
import type { Express, NextFunction, Request, RequestHandler, Response } from 'express';
import { addressBlockOf, normalizeAddress } from './network-addresses.js';
import { normalizeTarget } from './request-target.js';
import { MiddlewareChain } from './routing/middleware-chain.js';
import { createdByNode } from './routing/prototypes.js';
import { RouteTable } from './routing/route-table.js';

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
  readonly routes = new RouteTable();
  private chain: MiddlewareChain | undefined;
  private hasRoutes = false;

  constructor(private readonly serverOptions: ServerOptions) {
    super();
  }

  /** Middleware for all paths shares one layer of Express with its neighbours. */
  override use(...given: unknown[]): unknown {
    const [step] = given;
    if (given.length > 1 || typeof step !== 'function' || step.length > 3) {
      this.chain = undefined;
      return super.use(...given);
    }
    if (this.chain === undefined) {
      this.chain = new MiddlewareChain();
      super.use(this.chain.run);
    }
    this.chain.add(step as RequestHandler);
    return this.getInstance();
  }

  /** Without an Origin, only caches need a header of CORS, and only a preflight has a response of its own. */
  override enableCors(options: CorsOptions): void {
    const outer = this.chain;
    const cors = (this.chain = new MiddlewareChain());
    super.enableCors(options);
    this.chain = outer;
    this.use((request: Request, response: Response, next: NextFunction) => {
      if (request.headers.origin !== undefined || request.method === 'OPTIONS') return cors.run(request, response, next);
      response.setHeader('Vary', 'Origin');
      next();
    });
  }

  override get(...given: unknown[]): void {
    this.route('GET', given);
  }

  override post(...given: unknown[]): void {
    this.route('POST', given);
  }

  override put(...given: unknown[]): void {
    this.route('PUT', given);
  }

  override patch(...given: unknown[]): void {
    this.route('PATCH', given);
  }

  override delete(...given: unknown[]): void {
    this.route('DELETE', given);
  }

  /** Sends an object as Express does, without its look at every header that such a response may have. */
  override reply(response: Response, body: unknown, statusCode?: number): unknown {
    const text = isPlainReply(response, body, statusCode) ? JSON.stringify(body) : undefined;
    if (text === undefined) return super.reply(response, body, statusCode);
    if (statusCode !== undefined) response.statusCode = statusCode;
    response.setHeader('Content-Type', 'application/json; charset=utf-8');
    response.setHeader('Content-Length', Buffer.byteLength(text));
    return response.end(text);
  }

  override initHttpServer(options: NestApplicationOptions): void {
    super.initHttpServer(options);
    const { requestTimeoutMs, isBehindProxy } = this.serverOptions;
    const express = this.getInstance<Express>();
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
        ...createdByNode(express),
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

  private route(method: string, given: unknown[]): void {
    const [path, handler] = given as [string, RequestHandler];
    if (!this.hasRoutes) this.use(this.routes.dispatch);
    this.hasRoutes = true;
    this.routes.add(method, path, handler);
  }
}

/** Without a body of another type, a status that forbids a body, and a condition of the client. */
function isPlainReply(response: Response, body: unknown, statusCode = response.statusCode): boolean {
  const { method, headers } = response.req;
  return (
    typeof body === 'object' &&
    body !== null &&
    !(body instanceof StreamableFile || body instanceof Error) &&
    statusCode >= 200 &&
    ![204, 205, 304].includes(statusCode) &&
    method !== 'HEAD' &&
    headers['if-none-match'] === undefined &&
    headers['if-modified-since'] === undefined &&
    !response.hasHeader('content-type') &&
    !response.hasHeader('transfer-encoding')
  );
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

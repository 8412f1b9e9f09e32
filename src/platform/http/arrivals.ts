import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { NextFunction, Request, Response } from 'express';
import { RequestTimeout } from '../problems/problems.errors.js';
import { addressBlockOf, clientAddressOf } from './network-addresses.js';
import type { Problem } from '../problems/problem.js';
import { sendProblem } from '../problems/problem.filter.js';

const MEBIBYTE = 1024 * 1024;
const MAX_OF_CLIENT = 200;
const MAX_BYTES_OF_CLIENT = 64 * MEBIBYTE;
const MAX_BYTES = 256 * MEBIBYTE;

interface Exchange {
  request: Request;
  response: Response;
  /** The size of the body as announced, or the largest that is accepted. */
  bytes: number;
}

class Waiting {
  readonly exchanges = new Set<Exchange>();
  bytes = 0;

  add(exchange: Exchange): void {
    this.exchanges.add(exchange);
    this.bytes += exchange.bytes;
  }

  delete(exchange: Exchange): void {
    if (this.exchanges.delete(exchange)) this.bytes -= exchange.bytes;
  }

  tooMany(count: number, bytes: number): Exchange | undefined {
    return this.exchanges.size > count || (this.bytes > bytes && this.exchanges.size > 1)
      ? this.exchanges.values().next().value
      : undefined;
  }
}

/**
 * Bounds the requests that wait for their body, in total and for each client address. Above a bound, the oldest one ends
 * with 408: a body usually arrives in milliseconds, so the oldest is the slowest, and newcomers get through.
 */
export class Arrivals {
  private readonly all = new Waiting();
  private readonly byClient = new Map<string, Waiting>();
  private readonly latest = new WeakMap<Duplex, Exchange>();

  constructor(
    private readonly maxRequests: number,
    private readonly maxBodyBytes: number,
  ) {}

  readonly admit = (request: Request, response: Response, next: NextFunction): void => {
    const exchange = { request, response, bytes: this.announcedBytes(request) };
    this.latest.set(request.socket, exchange);
    if (exchange.bytes > 0) {
      const client = addressBlockOf(clientAddressOf(request));
      const own = this.byClient.get(client) ?? new Waiting();
      this.byClient.set(client, own);
      for (const waiting of [own, this.all]) waiting.add(exchange);
      const leave = () => {
        for (const waiting of [own, this.all]) waiting.delete(exchange);
        if (own.exchanges.size === 0 && this.byClient.get(client) === own) this.byClient.delete(client);
      };
      request.once('end', leave);
      request.once('close', leave);
      this.makeRoom(own);
    }
    next();
  };

  /** Reports the failure of a connection as the response to its current request. Returns false if it has none. */
  fail(socket: Duplex, problem: Problem): boolean {
    const exchange = this.latest.get(socket);
    if (exchange === undefined || (exchange.request.complete && exchange.response.closed)) return false;
    end(exchange, problem);
    return true;
  }

  private makeRoom(own: Waiting): void {
    const oldest = () =>
      own.tooMany(MAX_OF_CLIENT, Math.max(MAX_BYTES_OF_CLIENT, this.maxBodyBytes)) ??
      this.all.tooMany(this.maxRequests, Math.max(MAX_BYTES, this.maxBodyBytes));
    for (let exchange = oldest(); exchange !== undefined; exchange = oldest()) {
      // It leaves the sets when its connection is closed, which may take a moment.
      for (const waiting of [own, this.all]) waiting.delete(exchange);
      end(exchange, new RequestTimeout());
    }
  }

  private announcedBytes({ headers }: IncomingMessage): number {
    if (headers['transfer-encoding'] !== undefined) return this.maxBodyBytes;
    return Math.min(Number(headers['content-length'] ?? 0), this.maxBodyBytes);
  }
}

function end({ request, response }: Exchange, problem: Problem): void {
  // After a complete request, or in the middle of an answer, another answer would be taken for a part of it.
  if (request.complete || response.headersSent) {
    request.socket.destroy();
    return;
  }
  response.setHeader('connection', 'close');
  sendProblem(request, response, problem);
}

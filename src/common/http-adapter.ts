import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { NestApplicationOptions } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { normalizeTarget } from './request-target.js';

/** Express on a server that leaves every refusal to us, so that all of them look the same. */
export class HttpAdapter extends ExpressAdapter {
  override initHttpServer(options: NestApplicationOptions): void {
    super.initHttpServer(options);
    const express = this.getInstance<RequestListener>();
    const serve: RequestListener = (request, response) => {
      normalizeTarget(request);
      express(request, response);
    };
    // Node answers a missing Host and an unknown Expect by itself, without a body.
    const server: Server = createServer({ requireHostHeader: false }, serve);
    server.on('checkExpectation', (request: IncomingMessage, response) => serve(request, response));
    this.setHttpServer(server);
  }
}

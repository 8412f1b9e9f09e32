import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ready } from '../support/variant.js';

const server = createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ status: 'ok' }));
});
server.listen(0, '127.0.0.1', () => ready((server.address() as AddressInfo).port));

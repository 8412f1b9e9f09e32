import { randomBytes } from 'node:crypto';
import { v7 } from 'uuid';
import { hashSessionToken, signSessionToken } from '../../src/access/credentials/session-tokens.js';
import { testEnvironment } from '../support/app.js';
import type { TestDatabase } from '../support/database.js';
import type { Role } from '../support/tenants.js';

export interface Person {
  id: string;
  email: string;
  sessionId: string;
  /** Header for a request. */
  auth: { authorization: string };
}

const { AUTH_SECRET } = testEnvironment('postgres://none/none') as { AUTH_SECRET: string };

/** Writes signed-in people with verified addresses. */
export async function newPeople(db: TestDatabase, count: number): Promise<Person[]> {
  const people = Array.from({ length: count }, () => {
    const id = v7();
    const token = randomBytes(24).toString('base64url');
    const auth = { authorization: `Bearer ${signSessionToken(token, AUTH_SECRET)}` };
    return { id, email: `${id}@example.com`, sessionId: v7(), token: hashSessionToken(token), auth };
  });
  await db.rows(
    `WITH given AS (SELECT * FROM jsonb_to_recordset($1) AS r (id uuid, email text, "sessionId" uuid, token text)),
       added AS (INSERT INTO users (id, name, email, email_verified) SELECT id, 'Somebody', email, true FROM given)
     INSERT INTO sessions (id, user_id, token, expires_at) SELECT "sessionId", id, token, now() + interval '1 day' FROM given`,
    [JSON.stringify(people)],
  );
  return people;
}

export interface Organization {
  id: string;
  /** Of the API. */
  path: string;
  /** Ids of memberships, by user. */
  memberships: Map<string, string>;
}

export async function newOrganization(db: TestDatabase, members: [Person, Role][]): Promise<Organization> {
  const id = v7();
  const rows = members.map(([{ id: userId }, role]) => ({ id: v7(), userId, role }));
  await db.rows('INSERT INTO organizations (id, name, slug) VALUES ($1, $2, $2)', [id, `the-${id}`]);
  await db.rows(
    `INSERT INTO organization_memberships (id, organization_id, user_id, role)
     SELECT id, $1, "userId", role FROM jsonb_to_recordset($2) AS r (id uuid, "userId" uuid, role membership_role)`,
    [id, JSON.stringify(rows)],
  );
  return { id, path: `/v1/organizations/${id}`, memberships: new Map(rows.map((row) => [row.userId, row.id])) };
}

import type { Response } from 'supertest';
import { v7 } from 'uuid';
import type { TestApp } from './app.js';
import type { SignedInPerson } from './people.js';
import { until } from './until.js';

export type Role = 'admin' | 'member';

/** Creates an organization over HTTP; the creator is its admin. */
export async function createOrganization({ http }: TestApp, admin: SignedInPerson, body: object = {}) {
  const answer = await http
    .post('/v1/organizations')
    .set(admin.auth)
    .send({ name: `Org ${v7()}`, ...body })
    .expect(201);
  const organization = answer.body as { id: string; slug: string; name: string };
  return { ...organization, path: `/v1/organizations/${organization.id}` };
}

/** Adds a member without an invitation, and returns the membership's id. */
export async function addMember({ db }: TestApp, organizationId: string, person: { id: string }, role: Role = 'member'): Promise<string> {
  const id = v7();
  await db.rows('INSERT INTO organization_memberships (id, organization_id, user_id, role) VALUES ($1, $2, $3, $4)', [
    id,
    organizationId,
    person.id,
    role,
  ]);
  return id;
}

/** Inserts users who never sign in, and returns their ids in order. */
export async function insertUsers({ db }: TestApp, people: { name: string; email?: string }[]): Promise<string[]> {
  const rows = people.map((person) => ({ id: v7(), email: null, ...person }));
  await db.rows('INSERT INTO users (id, name, email) SELECT * FROM jsonb_to_recordset($1) AS r (id uuid, name text, email text)', [
    JSON.stringify(rows),
  ]);
  return rows.map(({ id }) => id);
}

export async function verifyEmail({ db }: TestApp, ...people: { id: string }[]): Promise<void> {
  await db.rows('UPDATE users SET email_verified = true, email_verified_at = now() WHERE id = ANY ($1)', [people.map(({ id }) => id)]);
}

/** The live membership of a user in an organization. */
export async function membershipOf({ db }: TestApp, organizationId: string, { id }: { id: string }) {
  const rows = await db.rows<{ id: string; role: Role }>(
    'SELECT id, role FROM organization_memberships WHERE organization_id = $1 AND user_id = $2 AND deleted_at IS NULL',
    [organizationId, id],
  );
  return rows[0];
}

export async function auditOf({ db }: TestApp, organizationId: string, action?: string) {
  return db.rows<{ action: string; actor_id: string | null; actor_kind: string; target_id: string; changes: unknown }>(
    'SELECT action, actor_id, actor_kind, target_id, changes FROM audit_log WHERE organization_id = $1 AND ($2::text IS NULL OR action = $2) ORDER BY created_at, id',
    [organizationId, action ?? null],
  );
}

/** The bytes of a response, without the request id. */
export function bytesOf({ status, text, body }: Response): string {
  return `${status} ${text.replaceAll((body as { requestId: string }).requestId, '')}`;
}

/** Every page of a list; the page sizes are checked. */
export async function allPages<T>({ http }: TestApp, { auth }: SignedInPerson, path: string, limit: number): Promise<T[]> {
  const all: T[] = [];
  for (let cursor: string | null = null; ;) {
    const query = `${path.includes('?') ? '&' : '?'}limit=${limit}${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`;
    const { body } = (await http.get(`${path}${query}`).set(auth).expect(200)) as { body: { data: T[]; nextCursor: string | null } };
    all.push(...body.data);
    if (body.nextCursor === null) return all;
    expect(body.data).toHaveLength(limit);
    cursor = body.nextCursor;
  }
}

/** Runs a job now, waits for its end, and returns its count. */
export async function runJob(
  { http, db }: Pick<TestApp, 'http' | 'db'>,
  operator: Pick<SignedInPerson, 'auth'>,
  job: string,
): Promise<number> {
  const start = async (): Promise<string | undefined> => {
    const { status, body } = await http.post(`/v1/jobs/${job}/run`).set(operator.auth);
    // 409: the scheduled run is in progress.
    if (status !== 202 && status !== 409) throw new Error(`Job ${job} could not be started: ${status}`);
    return (body as { lastRun?: { tick: string } }).lastRun?.tick;
  };
  const tick = await until(start, () => `job ${job} could not be started`);
  const text = 'SELECT error, count FROM job_runs WHERE job = $1 AND tick = $2 AND finished_at IS NOT NULL';
  const findEnd = async () => (await db.rows<{ error: string | null; count: number | null }>(text, [job, tick]))[0];
  const { error, count } = await until(findEnd, () => `job ${job} did not finish`);
  if (error !== null) throw new Error(`Job ${job} failed: ${error}`);
  return count!;
}

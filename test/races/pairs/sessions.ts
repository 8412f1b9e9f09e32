import { newPeople, type Person } from '../people.js';
import type { Operation, Pair, Stage } from '../stage.js';

/** Whether a session works after both operations are over. */
async function findRevived({ db, processes }: Stage, { auth, sessionId }: Person): Promise<string[]> {
  const { status } = await processes[1].call('GET', '/v1/sessions/current', { as: { auth } });
  const rows = await db.rows('SELECT FROM sessions WHERE id = $1', [sessionId]);
  return status === 401 && rows.length === 0 ? [] : [`a request with the revoked session is answered with ${status}`];
}

/** The session of an owner ends soon, so that each request extends it. */
async function newOwner({ db }: Stage): Promise<Person> {
  const [owner] = (await newPeople(db, 1)) as [Person];
  await db.rows(`UPDATE sessions SET last_used_at = now() - interval '1 day', expires_at = now() + interval '1 minute' WHERE id = $1`, [
    owner.sessionId,
  ]);
  return owner;
}

const revoke =
  (owner: Person): Operation =>
  (process) =>
    process.call('DELETE', `/v1/sessions/${owner.sessionId}`, { as: owner });
const read =
  (owner: Person): Operation =>
  (process) =>
    process.call('GET', '/v1/sessions/current', { as: owner });

const deleteAccount =
  (owner: Person): Operation =>
  (process) =>
    process.call('DELETE', '/v1/users/me', { as: owner });
const readProfile =
  (owner: Person): Operation =>
  (process) =>
    process.call('GET', '/v1/users/me', { as: owner });
const rename =
  (owner: Person): Operation =>
  (process) =>
    process.call('PATCH', '/v1/users/me', { as: owner, body: { name: 'Somebody Else' } });

type OfOwner = (owner: Person) => Operation;

function pair(name: string, [first, second]: [OfOwner, OfOwner], outcomes: string[]): Pair {
  const prepare = async (stage: Stage) => {
    const owner = await newOwner(stage);
    return { operations: [first(owner), second(owner)] as const, outcomes, check: () => findRevived(stage, owner) };
  };
  return { name, prepare };
}

const IN_TIME_OR_GONE = ['204, 200', '204, 401 invalid_credentials'];

export const SESSIONS: Pair[] = [
  pair('a session is revoked × used and extended', [revoke, read], IN_TIME_OR_GONE),
  pair('a user deletes their account × reads their profile', [deleteAccount, readProfile], IN_TIME_OR_GONE),
  pair('a user deletes their account × changes their name', [deleteAccount, rename], IN_TIME_OR_GONE),
  pair(
    'a session is revoked × and revoked again',
    [revoke, revoke],
    ['204, 401 invalid_credentials', '401 invalid_credentials, 204', '204, 404 session_not_found', '404 session_not_found, 204'],
  ),
];

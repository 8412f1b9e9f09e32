import { v7 } from 'uuid';
import { linkIdentifier, newLinkToken } from '../../../src/auth/links/mail-link.js';
import { PASSWORD } from '../../support/people.js';
import { newPeople, type Person } from '../people.js';
import type { Operation, Pair, Stage } from '../stage.js';

interface Mover extends Person {
  /** Of the link that proves the new address. */
  token: string;
}

interface World {
  email: string;
  movers: [Mover, Mover];
}

const confirm =
  (index: 0 | 1) =>
  ({ movers }: World): Operation =>
  (process) =>
    process.call('POST', '/v1/auth/change-email/confirm', { as: movers[index], body: { token: movers[index].token } });
const signUp =
  ({ email }: World): Operation =>
  (process) =>
    process.call('POST', '/v1/auth/sign-up/email', { body: { email, name: 'Somebody', password: PASSWORD } });

function pair(name: string, [first, second]: [(world: World) => Operation, (world: World) => Operation], outcomes: string[]): Pair {
  const prepare = async ({ db }: Stage) => {
    const email = `${v7()}@example.com`;
    const movers = (await newPeople(db, 2)).map((person) => ({ ...person, token: newLinkToken() })) as World['movers'];
    const links = movers.map(({ id, sessionId, token }) => {
      const value = JSON.stringify({ userId: id, sessionId, newEmail: email });
      return { id: v7(), user_id: id, identifier: linkIdentifier('change-email:', token), value };
    });
    await db.rows(
      `INSERT INTO verifications (id, user_id, identifier, value, expires_at)
       SELECT id, user_id, identifier, value, now() + interval '1 hour'
         FROM jsonb_to_recordset($1) AS r (id uuid, user_id uuid, identifier text, value text)`,
      [JSON.stringify(links)],
    );
    const world = { email, movers };
    const check = async (answers: readonly { status: number }[]) => {
      const holders = await db.rows<{ id: string; verified: boolean }>(
        'SELECT id, email_verified AS verified FROM users WHERE email = $1 AND deleted_at IS NULL',
        [email],
      );
      const proved = movers.filter((_, index) => answers[index]!.status === 200 && [first, second][index] !== signUp);
      const isRight = proved.length === 0 || holders.some(({ id, verified }) => verified && proved.some((one) => one.id === id));
      return [
        ...(holders.length === 1 ? [] : [`${holders.length} users have the address`]),
        ...(isRight ? [] : ['the user who has proved the address does not have it']),
      ];
    };
    return { operations: [first(world), second(world)] as const, outcomes, check };
  };
  return { name, apart: ['sessions', 'accounts', 'verifications'], prepare };
}

export const EMAILS: Pair[] = [
  {
    ...pair(
      'a user moves to an address × another user moves to it',
      [confirm(0), confirm(1)],
      ['200, 409 email_taken', '409 email_taken, 200'],
    ),
    switches: 2,
  },
  {
    ...pair(
      'a user moves to an address × somebody signs up with it',
      [confirm(0), signUp],
      ['200, 200', '200, 409 email_taken', '409 email_taken, 200'],
    ),
    switches: 2,
  },
  pair('somebody signs up with an address × and signs up again', [signUp, signUp], ['200, 409 email_taken', '409 email_taken, 200']),
];

import { v7 } from 'uuid';
import { newPeople, type Person } from '../people.js';
import type { Operation, Pair, Stage } from '../stage.js';

function pair(name: string, names: [string, string], outcomes: string[]): Pair {
  const prepare = async ({ db }: Stage) => {
    const [person] = (await newPeople(db, 1)) as [Person];
    const headers = { 'idempotency-key': v7() };
    const create =
      (organization: string): Operation =>
      (process) =>
        process.call('POST', '/v1/organizations', { as: person, headers, body: { name: organization } });
    const check = async (answers: readonly { status: number; body: Record<string, unknown> }[]) => {
      const made = await db.rows<{ id: string }>('SELECT organization_id AS id FROM organization_memberships WHERE user_id = $1', [
        person.id,
      ]);
      const named = answers.filter(({ status }) => status === 201).map(({ body }) => body['id']);
      return made.length === 1 && named.every((id) => id === made[0]!.id)
        ? []
        : [`${made.length} organizations were made, and the answers name ${named.join(' and ')}`];
    };
    return { operations: [create(names[0]), create(names[1])] as const, outcomes, check };
  };
  return { name, prepare };
}

export const IDEMPOTENCY: Pair[] = [
  pair(
    'a request × the same, with one key',
    ['One', 'One'],
    ['201, 201', '201, 409 idempotency_key_in_flight', '409 idempotency_key_in_flight, 201'],
  ),
  pair(
    'a request × another, with one key',
    ['One', 'Two'],
    [
      '201, 422 idempotency_key_reused',
      '422 idempotency_key_reused, 201',
      '201, 409 idempotency_key_in_flight',
      '409 idempotency_key_in_flight, 201',
    ],
  ),
];

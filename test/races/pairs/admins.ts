import { newOrganization, newPeople, type Organization, type Person } from '../people.js';
import type { Operation, Pair, Stage } from '../stage.js';

interface World extends Organization {
  one: Person;
  two: Person;
}

const remove =
  (who: Person, by: Person) =>
  ({ path, memberships }: Organization): Operation =>
  (process) =>
    process.call('DELETE', `${path}/memberships/${memberships.get(who.id)}`, { as: by });
const demote =
  (who: Person, by: Person) =>
  ({ path, memberships }: Organization): Operation =>
  (process) =>
    process.call('PATCH', `${path}/memberships/${memberships.get(who.id)}`, { as: by, body: { role: 'member' } });
const deleteAccount = (who: Person) => (): Operation => (process) => process.call('DELETE', '/v1/users/me', { as: who });

function pair(
  name: string,
  operationsOf: (world: World) => [(world: World) => Operation, (world: World) => Operation],
  outcomes: string[],
): Pair {
  const prepare = async ({ db }: Stage) => {
    const [one, two, member] = (await newPeople(db, 3)) as [Person, Person, Person];
    const organization = await newOrganization(db, [
      [one, 'admin'],
      [two, 'admin'],
      [member, 'member'],
    ]);
    const world = { ...organization, one, two };
    const [first, second] = operationsOf(world);
    const check = async () => {
      const admins = await db.rows(
        `SELECT FROM organization_memberships m JOIN users u ON u.id = m.user_id
          WHERE organization_id = $1 AND role = 'admin' AND m.deleted_at IS NULL AND u.deleted_at IS NULL`,
        [organization.id],
      );
      return admins.length === 0 ? ['the organization has no admin'] : [];
    };
    return { operations: [first(world), second(world)] as const, outcomes, check };
  };
  return { name, prepare };
}

const ONE_STAYS = ['204, 409 last_admin', '409 last_admin, 204'];

/** Of an organization with two admins and a member. */
export const ADMINS: Pair[] = [
  pair('an admin leaves × the other leaves', ({ one, two }) => [remove(one, one), remove(two, two)], ONE_STAYS),
  pair('an admin demotes the other × is demoted by them', ({ one, two }) => [demote(two, one), demote(one, two)], [
    '200, 403 role_required',
    '403 role_required, 200',
    '200, 409 last_admin',
    '409 last_admin, 200',
  ]),
  pair('an admin becomes a member × the other leaves', ({ one, two }) => [demote(one, one), remove(two, two)], [
    '200, 409 last_admin',
    '409 last_admin, 204',
  ]),
  pair('an admin removes the other × deletes their own account', ({ one, two }) => [remove(two, one), deleteAccount(one)], [
    ...ONE_STAYS,
    '401 invalid_credentials, 204',
  ]),
  pair('an admin deletes their account × the other leaves', ({ one, two }) => [deleteAccount(one), remove(two, two)], ONE_STAYS),
  {
    ...pair('an admin deletes their account × so does the other', ({ one, two }) => [deleteAccount(one), deleteAccount(two)], ONE_STAYS),
    apart: ['sessions', 'accounts', 'verifications'],
    switches: 2,
  },
];

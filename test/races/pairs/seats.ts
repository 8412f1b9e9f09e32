import { createHash, randomBytes } from 'node:crypto';
import { v7 } from 'uuid';
import { newOrganization, newPeople, type Organization, type Person } from '../people.js';
import { type Operation, type Pair, SEATS, type Stage } from '../stage.js';

interface World extends Organization {
  admin: Person;
  /** Ids of open invitations, for one person each. */
  invitations: { id: string; of: Person }[];
}

const accept =
  (index: number) =>
  ({ invitations }: World): Operation =>
  (process) =>
    process.call('POST', `/v1/invitations/${invitations[index]!.id}/accept`, { as: invitations[index]!.of });
const invite = ({ path, admin }: World): Operation => {
  const email = `${v7()}@example.com`;
  return (process) => process.call('POST', `${path}/invitations`, { as: admin, body: { email, role: 'member' } });
};
const revoke =
  ({ path, admin, invitations }: World): Operation =>
  (process) =>
    process.call('DELETE', `${path}/invitations/${invitations[0]!.id}`, { as: admin });

async function newInvitations({ db }: Stage, organizationId: string, invitedBy: Person, people: Person[]): Promise<World['invitations']> {
  const rows = people.map(({ email }) => ({ id: v7(), email, hash: createHash('sha256').update(randomBytes(8)).digest('base64url') }));
  await db.rows(
    `INSERT INTO invitations (id, organization_id, email, role, token, invited_by, expires_at)
     SELECT id, $1, email, 'member', hash, $2, now() + interval '1 day' FROM jsonb_to_recordset($3) AS r (id uuid, email text, hash text)`,
    [organizationId, invitedBy.id, JSON.stringify(rows)],
  );
  return rows.map(({ id }, index) => ({ id, of: people[index]! }));
}

/** @param promised the most seats that members and open invitations may take */
async function findFaults({ db }: Stage, { id }: World, promised: number): Promise<string[]> {
  const [found] = await db.rows<{ members: number; open: number; kept: number; unanswered: number; strangers: number }>(
    `SELECT member_count AS kept,
       (SELECT count(*)::int FROM organization_memberships WHERE organization_id = o.id AND deleted_at IS NULL) AS members,
       (SELECT count(*)::int FROM invitations WHERE organization_id = o.id AND status = 'pending') AS open,
       (SELECT count(*)::int FROM invitations i WHERE organization_id = o.id AND status = 'accepted'
         AND (SELECT count(*) FROM organization_memberships WHERE organization_id = o.id AND user_id = i.answered_by) <> 1) AS unanswered,
       (SELECT count(*)::int FROM organization_memberships m WHERE organization_id = o.id AND role = 'member' AND EXISTS (
         SELECT FROM invitations i JOIN users u ON u.email = i.email WHERE i.organization_id = o.id AND u.id = m.user_id AND i.status <> 'accepted')) AS strangers
     FROM organizations o WHERE id = $1`,
    [id],
  );
  const { members, open, kept, unanswered, strangers } = found!;
  return [
    ...(members > SEATS ? [`${members} members have ${SEATS} seats`] : []),
    ...(members + open > promised ? [`${members} members and ${open} open invitations have ${promised} seats`] : []),
    ...(members === kept ? [] : [`${members} members are counted as ${kept}`]),
    ...(unanswered === 0 ? [] : ['an accepted invitation has no member, or two']),
    ...(strangers === 0 ? [] : ['an invitation was not accepted, and has a member']),
  ];
}

/** @param members besides the admin @param invited people with an open invitation */
function pair(
  name: string,
  { members, invited }: { members: number; invited: number },
  [first, second]: [(world: World) => Operation, (world: World) => Operation],
  outcomes: string[],
): Pair {
  const prepare = async (stage: Stage) => {
    const [admin, ...people] = (await newPeople(stage.db, 1 + members + invited)) as [Person, ...Person[]];
    const organization = await newOrganization(stage.db, [
      [admin, 'admin'],
      ...people.slice(invited).map((one): [Person, 'member'] => [one, 'member']),
    ]);
    const invitations = await newInvitations(stage, organization.id, admin, people.slice(0, invited));
    const world = { ...organization, admin, invitations };
    // As after a change of plan: more people may be invited than there are seats.
    const promised = Math.max(SEATS, 1 + members + invited);
    return { operations: [first(world), second(world)] as const, outcomes, check: () => findFaults(stage, world, promised) };
  };
  return { name, prepare };
}

/** Of an organization with three seats. */
export const SEATS_AND_INVITATIONS: Pair[] = [
  pair(
    'two people accept × for the last seat',
    { members: 1, invited: 2 },
    [accept(0), accept(1)],
    ['200, 402 seat_limit_reached', '402 seat_limit_reached, 200'],
  ),
  pair('a person accepts × an admin invites', { members: 0, invited: 1 }, [accept(0), invite], ['200, 201']),
  pair(
    'a person accepts × an admin invites without a seat',
    { members: 1, invited: 1 },
    [accept(0), invite],
    ['200, 402 seat_limit_reached'],
  ),
  pair(
    'an admin invites × and invites, for the last seat',
    { members: 1, invited: 0 },
    [invite, invite],
    ['201, 402 seat_limit_reached', '402 seat_limit_reached, 201'],
  ),
  pair(
    'a person accepts × an admin revokes the invitation',
    { members: 0, invited: 1 },
    [accept(0), revoke],
    ['200, 409 invitation_not_pending', '410 invitation_gone, 204'],
  ),
  pair('a person accepts × and accepts again', { members: 0, invited: 1 }, [accept(0), accept(0)], ['200, 200']),
];

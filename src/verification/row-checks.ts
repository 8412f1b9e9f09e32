/** A promise as rows that must not exist. */
export interface RowCheck {
  name: string;
  promise: string;
  /** Walked in the order of its ids; `t` in the conditions. */
  table: string;
  resource: string;
  /** Leaves out rows that cannot break the promise. */
  among?: string;
  broken: string;
  /** Text that says why. */
  details: string;
}

const exists = (from: string, where: string) => `EXISTS (SELECT FROM ${from} WHERE ${where})`;
/** Whether the audit log says that it happened to this row. */
const happened = (...actions: string[]) =>
  exists('audit_log a', `a.target_id = t.id::text AND a.action IN (${actions.map((action) => `'${action}'`).join(', ')})`);
/** Whether the first of two opposite actions is the newest. */
const isOff = (off: string, on: string) =>
  `coalesce((SELECT a.action = '${off}' FROM audit_log a WHERE a.target_id = t.id::text AND a.action IN ('${off}', '${on}')
    ORDER BY a.created_at DESC, a.id DESC LIMIT 1), false)`;

const OVERDUE = `interval '15 minutes'`;
const DELETED_USER = exists('users u', 'u.id = t.user_id AND u.deleted_at IS NOT NULL');
/** Users leave many organizations in steps (docs/decisions/0067). */
const LONG_DELETED_USER = exists('users u', `u.id = t.user_id AND u.deleted_at < now() - ${OVERDUE}`);
const LIVE_USER = `((u.deleted_at IS NULL AND u.suspended_at IS NULL AND NOT u.banned) OR u.updated_at > now() - ${OVERDUE})`;

export const ROW_CHECKS: RowCheck[] = [
  {
    name: 'organization_admins',
    promise: 'Every organization with members has an admin.',
    table: 'organizations',
    resource: 'organization',
    among: 't.deleted_at IS NULL AND t.clerk_organization_id IS NULL',
    broken: `${exists('organization_memberships m JOIN users u ON u.id = m.user_id', 'm.organization_id = t.id AND m.deleted_at IS NULL AND u.deleted_at IS NULL')}
      AND NOT ${exists('organization_memberships m JOIN users u ON u.id = m.user_id', `m.organization_id = t.id AND m.role = 'admin' AND m.deleted_at IS NULL AND coalesce(u.deleted_at, 'infinity') > now() - ${OVERDUE}`)}`,
    details: `'it has no admin'`,
  },
  {
    name: 'deleted_users',
    promise: 'A deleted user stays deleted.',
    table: 'users',
    resource: 'user',
    among: 't.deleted_at IS NULL',
    broken: happened('user.deleted', 'user.sign_up_rejected'),
    details: `'the audit log has its deletion'`,
  },
  {
    name: 'suspended_users',
    promise: 'A suspended user stays suspended until an operator ends it.',
    table: 'users',
    resource: 'user',
    among: 't.deleted_at IS NULL AND t.suspended_at IS NULL',
    broken: isOff('user.suspended', 'user.unsuspended'),
    details: `'the audit log has its suspension, and no end of it'`,
  },
  {
    name: 'deleted_organizations',
    promise: 'A deleted organization stays deleted until an operator restores it.',
    table: 'organizations',
    resource: 'organization',
    among: 't.deleted_at IS NULL',
    broken: isOff('organization.deleted', 'organization.restored'),
    details: `'the audit log has its deletion, and no restoration'`,
  },
  {
    name: 'sessions',
    promise: 'No revoked session and no session of a deleted user lives.',
    table: 'sessions',
    resource: 'session',
    among: 't.ended_at IS NULL AND t.expires_at > now()',
    broken: `${DELETED_USER} OR ${happened('session.revoked')}`,
    details: `CASE WHEN ${DELETED_USER} THEN 'its user is deleted' ELSE 'it was revoked' END`,
  },
  {
    name: 'memberships',
    promise: 'Nobody is a member who was removed, has left or is deleted.',
    table: 'organization_memberships',
    resource: 'membership',
    among: 't.deleted_at IS NULL',
    broken: `${LONG_DELETED_USER} OR ${happened('membership.removed', 'membership.left')}`,
    details: `CASE WHEN ${LONG_DELETED_USER} THEN 'its user is deleted' ELSE 'it was ended' END`,
  },
  {
    name: 'invitations',
    promise: 'No revoked invitation is pending, and none of a sender who may no longer invite.',
    table: 'invitations',
    resource: 'invitation',
    among: `t.status = 'pending' AND t.expires_at > now() AND t.clerk_invitation_id IS NULL`,
    broken: `${happened('invitation.revoked')} OR NOT ${exists(
      'organization_memberships m JOIN users u ON u.id = m.user_id',
      `m.organization_id = t.organization_id AND m.role = 'admin' AND m.deleted_at IS NULL AND ${LIVE_USER}
         AND u.id = coalesce((SELECT into_user_id FROM user_merges WHERE id = t.invited_by), t.invited_by)`,
    )}`,
    details: `CASE WHEN ${happened('invitation.revoked')} THEN 'it was revoked' ELSE 'its sender may no longer invite' END`,
  },
  {
    name: 'api_keys',
    promise: 'No revoked API key works.',
    table: 'api_keys',
    resource: 'api_key',
    among: '(t.revoked_at IS NULL OR t.revoked_at > now()) AND (t.expires_at IS NULL OR t.expires_at > now())',
    broken: happened('api_key.revoked'),
    details: `'it was revoked'`,
  },
  {
    name: 'inbox',
    promise: 'Every received webhook is processed when it is due.',
    table: 'webhook_events',
    resource: 'webhook_event',
    among: `t.status = 'pending'`,
    broken: `t.next_attempt_at < now() - ${OVERDUE} AND coalesce(t.leased_until, '-infinity') < now() - ${OVERDUE}`,
    details: `'due since ' || to_char(t.next_attempt_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`,
  },
  {
    name: 'outbox',
    promise: 'Every mail and every call to a provider is sent when it is due, and not again once it is done.',
    table: 'outbox',
    resource: 'outbox_entry',
    among: 't.next_attempt_at IS NOT NULL',
    broken: `t.next_attempt_at < now() - ${OVERDUE} OR t.done_at IS NOT NULL`,
    details: `CASE WHEN t.done_at IS NOT NULL THEN 'it is done and would be sent again'
      ELSE 'due since ' || to_char(t.next_attempt_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END`,
  },
];

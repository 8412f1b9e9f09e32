import { createHash } from 'node:crypto';
import type { TestDatabase } from '../database.js';
import { type History, localId, type LocalUser } from './clerk-histories.js';

/** The rows of one history, without our own ids and write times. */
export interface Rows {
  /** By Clerk's id. A row without a Clerk id is stored under our id. */
  users: Record<string, object>;
  organizations: Record<string, object>;
  memberships: Record<string, object>;
  invitations: Record<string, object>;
  sessions: Record<string, object>;
  /** The rows that existed before the first event. */
  locals: Record<string, object>;
}

/** A member of the local organization without a Clerk user, so that there is always a member to promote. */
const KEEPER: Omit<LocalUser, 'id' | 'email'> = { label: 'keeper', proved: true, operator: false, hasPassword: true, role: 'member' };

/** Long before any event. */
const PROVED_AT = '2025-06-01T00:00:00Z';

function localUsers({ prefix, locals }: History): LocalUser[] {
  const email = `${prefix}-keeper@example.com`;
  return [...locals, { ...KEEPER, id: localId(prefix, KEEPER.label), email, role: locals.some(isAdmin) ? 'member' : 'admin' }];
}

const isAdmin = ({ role }: LocalUser) => role === 'admin';

/** The rows that existed before the first event, by id. */
const known = new Map<string, { prefix: string; label: string }>();

/** Writes the rows from before the first event: local users with accounts, a session and an organization, and Clerk users who signed in. */
export async function writeInitialRows(db: TestDatabase, histories: History[]): Promise<void> {
  const rows = { users: [] as object[], accounts: [] as object[], sessions: [] as object[], organizations: [] as object[] };
  const memberships: object[] = [];
  for (const history of histories) {
    const { prefix, localSlug } = history;
    const id = (label: string) => {
      known.set(localId(prefix, label), { prefix, label });
      return localId(prefix, label);
    };
    for (const { clerkUserId, operator } of history.signedIn) {
      rows.users.push({
        id: id(clerkUserId),
        clerk_user_id: clerkUserId,
        name: '',
        operator,
        email_verified: false,
        created_at: PROVED_AT,
      });
    }
    if (history.locals.length === 0 && localSlug === undefined) continue;
    rows.organizations.push({ id: id('organization'), name: 'Local', slug: localSlug ?? `${prefix}-local` });
    for (const [index, user] of localUsers(history).entries()) {
      const { label } = user;
      const user_id = id(label);
      const created_at = `2025-06-0${index + 2}T00:00:00Z`;
      const email_verified_at = user.proved ? PROVED_AT : null;
      rows.users.push({
        id: user_id,
        name: label,
        email: user.email,
        email_verified: user.proved,
        email_verified_at,
        operator: user.operator,
        clerk_user_id: null,
        created_at: PROVED_AT,
      });
      rows.accounts.push({ id: id(`${label} google`), user_id, created_at, provider: 'google', provider_account_id: `${prefix}-${label}` });
      if (user.hasPassword) {
        rows.accounts.push({
          id: id(`${label} password`),
          user_id,
          created_at,
          provider: 'credential',
          provider_account_id: user_id,
          password: 'x',
        });
      }
      const token = createHash('sha256').update(user_id).digest('base64url');
      rows.sessions.push({ id: id(`${label} session`), user_id, token, expires_at: '2100-01-01T00:00:00Z' });
      if (user.role !== null) {
        memberships.push({ id: id(`${label} membership`), user_id, organization_id: id('organization'), role: user.role, created_at });
      }
    }
  }
  const insert = (table: string, columns: string, values: object[]) => {
    const names = columns.split(', ').map((column) => column.split(' ')[0]);
    const text = `INSERT INTO ${table} (${names.join(', ')}) SELECT * FROM jsonb_to_recordset($1) AS row (${columns})`;
    return db.rows(text, [JSON.stringify(values)]);
  };
  await insert(
    'users',
    'id uuid, clerk_user_id text, name text, email text, email_verified boolean, email_verified_at timestamptz, operator boolean, created_at timestamptz',
    rows.users,
  );
  await insert('organizations', 'id uuid, name text, slug text', rows.organizations);
  await insert(
    'accounts',
    'id uuid, user_id uuid, provider text, provider_account_id text, password text, created_at timestamptz',
    rows.accounts,
  );
  await insert('sessions', 'id uuid, user_id uuid, token text, expires_at timestamptz', rows.sessions);
  const membership = 'id uuid, user_id uuid, organization_id uuid, role membership_role, created_at timestamptz';
  await insert('organization_memberships', membership, memberships);
}

interface Owned {
  id: string;
  user_id: string;
}

type Column = Record<string, unknown>;

/** The current rows of these histories by prefix. Rows of no history are under ''. */
export async function readRows(db: TestDatabase, histories: History[]): Promise<Map<string, Rows>> {
  const all = new Map<string, Rows>();
  const of = (prefix: string): Rows => {
    const rows = all.get(prefix) ?? { users: {}, organizations: {}, memberships: {}, invitations: {}, sessions: {}, locals: {} };
    all.set(prefix, rows);
    return rows;
  };
  for (const { prefix } of [{ prefix: '' }, ...histories]) of(prefix);
  const prefixOf = (id: string) => {
    return /^[a-z]+_(h\d+)_/.exec(id)?.[1] ?? '';
  };
  const store = (kind: Exclude<keyof Rows, 'locals'>, row: { id: string; provider_id: string | null }, fields: object) => {
    if (row.provider_id !== null) {
      of(prefixOf(row.provider_id))[kind][row.provider_id] = fields;
      return;
    }
    const local = known.get(row.id);
    if (local === undefined) of('')[kind][row.id] = fields;
    else of(local.prefix).locals[local.label] = fields;
  };

  const users = await db.rows<Column & { id: string; provider_id: string | null }>(
    `SELECT u.id, u.clerk_user_id AS provider_id, u.email, u.email_verified, u.clerk_email, u.clerk_email_verified, u.name, u.username, u.image_url,
        u.banned, u.operator, u.deleted_at IS NOT NULL AS dead, m.into_user_id
       FROM users u LEFT JOIN user_merges m ON m.id = u.id`,
  );
  const names = new Map(users.map(({ id, provider_id }) => [id, provider_id ?? known.get(id)?.label ?? id]));
  const nameOf = (id: unknown) => (id === null ? null : (names.get(id as string) ?? 'somebody who is gone'));
  for (const { id, provider_id, into_user_id, ...fields } of users) {
    store('users', { id, provider_id }, { ...fields, mergedInto: nameOf(into_user_id) });
  }
  const organizations = await db.rows<Column & { id: string; provider_id: string | null }>(
    'SELECT id, clerk_organization_id AS provider_id, name, slug, clerk_slug, image_url, deleted_at IS NOT NULL AS dead FROM organizations',
  );
  const organizationNames = new Map(organizations.map(({ id, provider_id }) => [id, provider_id ?? known.get(id)?.label ?? id]));
  for (const { id, provider_id, ...fields } of organizations) store('organizations', { id, provider_id }, fields);
  const memberships = await db.rows<Column & Owned & { provider_id: string | null; organization_id: string }>(
    `SELECT id, clerk_membership_id AS provider_id, organization_id, user_id, role, clerk_role, deleted_at IS NOT NULL AS dead
       FROM organization_memberships`,
  );
  for (const { id, provider_id, organization_id, user_id, ...fields } of memberships) {
    const pair = { organization: organizationNames.get(organization_id), user: nameOf(user_id) };
    // The role of an ended local membership depends on which of two users was deleted first.
    const role = provider_id === null && fields['dead'] === true ? {} : { role: fields['role'] };
    store('memberships', { id, provider_id }, { ...pair, clerk_role: fields['clerk_role'], dead: fields['dead'], ...role });
  }
  const invitations = await db.rows<
    Column & { id: string; provider_id: string | null; organization_id: string; answered_by: string | null }
  >('SELECT id, clerk_invitation_id AS provider_id, organization_id, email, role, clerk_role, status, answered_by FROM invitations');
  for (const { id, provider_id, organization_id, answered_by, ...fields } of invitations) {
    const organization = organizationNames.get(organization_id);
    // `answered_by` of a purged user counts as empty, because it may be purged before or after the event.
    const answeredBy = names.get(answered_by ?? '') ?? null;
    store('invitations', { id, provider_id }, { organization, answeredBy, ...fields });
  }
  const sessions = await db.rows<Owned & { provider_id: string | null; ended: boolean }>(
    'SELECT id, clerk_session_id AS provider_id, user_id, ended_at IS NOT NULL AS ended FROM sessions',
  );
  for (const { user_id, ended, ...row } of sessions) store('sessions', row, { user: nameOf(user_id), ended });
  const accounts = await db.rows<Owned & { provider: string; provider_account_id: string }>(
    'SELECT id, user_id, provider, provider_account_id FROM accounts',
  );
  for (const { id, user_id, provider, provider_account_id } of accounts) {
    const isOwn = provider !== 'credential' || provider_account_id === user_id;
    const local = known.get(id);
    of(local?.prefix ?? '').locals[local?.label ?? id] = { user: nameOf(user_id), isOwn };
  }
  return all;
}

/** The rows without tombstones, as a purge leaves them. */
export function withoutTombstones(rows: Rows): Rows {
  const kept = Object.entries(rows).map(([kind, things]) => [
    kind,
    Object.fromEntries(Object.entries(things as Record<string, { dead?: boolean }>).filter(([, { dead }]) => dead !== true)),
  ]);
  return Object.fromEntries(kept);
}

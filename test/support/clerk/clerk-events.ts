import { randomBytes } from 'node:crypto';
import { type Attempt, postSigned, signedHeaders, standardKey } from '../webhook-signing.js';

/** For `CLERK_WEBHOOK_SIGNING_SECRET`. */
export const CLERK_WEBHOOK_SECRET = `whsec_${Buffer.from('tests sign their webhooks with this').toString('base64')}`;
export const CLERK_INSTANCE_ID = 'ins_test';

/** The envelope of every Clerk event; `timestamp` is in milliseconds. */
export interface ClerkEvent {
  object: 'event';
  type: string;
  timestamp: number;
  instance_id?: string;
  event_attributes: { http_request: { client_ip: string; user_agent: string } };
  data: Record<string, unknown>;
}

export interface EmailAddress {
  email: string;
  verified: boolean;
}

interface Times {
  createdAt?: number;
  updatedAt?: number;
}

export interface UserData extends Times {
  id: string;
  /** The primary address. */
  email?: EmailAddress;
  /** Listed before the primary address, like an address that was added earlier. */
  otherEmails?: EmailAddress[];
  firstName?: string | null;
  lastName?: string | null;
  username?: string | null;
  imageUrl?: string;
  banned?: boolean;
  externalId?: string | null;
}

export interface OrganizationData extends Times {
  id: string;
  name?: string;
  slug?: string | null;
  imageUrl?: string;
  createdBy?: string;
}

export interface MembershipData extends Times {
  id: string;
  organization: OrganizationData;
  user: UserData;
  role?: string;
}

export interface InvitationData extends Times {
  id: string;
  organizationId: string;
  email: string;
  role?: string;
  status?: 'pending' | 'accepted' | 'revoked' | 'expired';
  /** The id of the accepting user. */
  userId?: string;
  expiresAt?: number | null;
}

export interface SessionData extends Times {
  id: string;
  userId: string;
  status?: string;
  /** The embedded user. */
  user?: UserData | null;
  expireAt?: number;
}

const FAR_AWAY = Date.UTC(2100, 0);
const IMAGE = 'https://img.clerk.com/nobody';

function times({ createdAt, updatedAt }: Times) {
  const created_at = createdAt ?? updatedAt ?? Date.now();
  return { created_at, updated_at: updatedAt ?? created_at };
}

function emailAddress(owner: string, { email, verified }: EmailAddress, index: number) {
  return {
    object: 'email_address',
    id: `idn_${owner}_${index}`,
    email_address: email,
    verification: verified ? { status: 'verified', strategy: 'email_code', attempts: 1, expire_at: null } : null,
    linked_to: [],
  };
}

export function userData({ email, otherEmails = [], ...user }: UserData): Record<string, unknown> {
  const addresses = [...otherEmails, ...(email === undefined ? [] : [email])].map((one, index) => emailAddress(user.id, one, index));
  const imageUrl = user.imageUrl ?? IMAGE;
  return {
    object: 'user',
    id: user.id,
    external_id: user.externalId ?? null,
    primary_email_address_id: email === undefined ? null : addresses.at(-1)!.id,
    primary_phone_number_id: null,
    primary_web3_wallet_id: null,
    username: user.username ?? null,
    first_name: user.firstName ?? null,
    last_name: user.lastName ?? null,
    image_url: imageUrl,
    profile_image_url: imageUrl,
    has_image: imageUrl !== IMAGE,
    email_addresses: addresses,
    phone_numbers: [],
    web3_wallets: [],
    external_accounts: [],
    public_metadata: {},
    private_metadata: null,
    unsafe_metadata: {},
    password_enabled: true,
    two_factor_enabled: false,
    banned: user.banned ?? false,
    locked: false,
    last_sign_in_at: null,
    last_active_at: null,
    ...times(user),
  };
}

export function organizationData(organization: OrganizationData): Record<string, unknown> {
  return {
    object: 'organization',
    id: organization.id,
    name: organization.name ?? 'An organization',
    slug: organization.slug ?? null,
    image_url: organization.imageUrl ?? IMAGE,
    has_image: organization.imageUrl !== undefined,
    members_count: 1,
    pending_invitations_count: 0,
    max_allowed_memberships: 0,
    admin_delete_enabled: true,
    public_metadata: {},
    private_metadata: {},
    ...(organization.createdBy !== undefined && { created_by: organization.createdBy }),
    ...times(organization),
  };
}

/** Also the payload of an ended membership: Clerk sends the full object without a flag. */
export function membershipData({ id, organization, user, role = 'org:member', ...rest }: MembershipData): Record<string, unknown> {
  const imageUrl = user.imageUrl ?? IMAGE;
  return {
    object: 'organization_membership',
    id,
    role,
    role_name: role.replace('org:', ''),
    permissions: [],
    public_metadata: {},
    private_metadata: {},
    organization: organizationData(organization),
    public_user_data: {
      user_id: user.id,
      identifier: user.email?.email ?? user.username ?? user.id,
      first_name: user.firstName ?? null,
      last_name: user.lastName ?? null,
      image_url: imageUrl,
      profile_image_url: imageUrl,
      has_image: imageUrl !== IMAGE,
    },
    ...times(rest),
  };
}

export function invitationData({ status = 'pending', role = 'org:member', ...invitation }: InvitationData): Record<string, unknown> {
  return {
    object: 'organization_invitation',
    id: invitation.id,
    email_address: invitation.email,
    role,
    role_name: role.replace('org:', ''),
    organization_id: invitation.organizationId,
    status,
    public_metadata: {},
    private_metadata: {},
    url: `https://accounts.example.com/v1/tickets/accept?ticket=secret-of-${invitation.id}`,
    ...(invitation.userId !== undefined && { user_id: invitation.userId }),
    expires_at: invitation.expiresAt === undefined ? FAR_AWAY : invitation.expiresAt,
    ...times(invitation),
  };
}

export function sessionData({ id, userId, status = 'active', user = null, ...session }: SessionData): Record<string, unknown> {
  const expireAt = session.expireAt ?? FAR_AWAY;
  const { created_at, updated_at } = times(session);
  return {
    object: 'session',
    id,
    user_id: userId,
    client_id: `client_${id}`,
    actor: null,
    status,
    last_active_organization_id: null,
    last_active_at: updated_at,
    expire_at: expireAt,
    abandon_at: expireAt,
    user: user === null ? null : userData(user),
    created_at,
    updated_at,
  };
}

export function deletedData(object: 'user' | 'organization', id: string, more: object = {}): Record<string, unknown> {
  return { object, id, deleted: true, ...more };
}

/** A mail with a one-time code, which must not be stored or logged. */
export function emailData({ id, code = '424242', to = 'somebody@example.com' }: { id: string; code?: string; to?: string }) {
  return {
    object: 'email',
    id,
    slug: 'verification_code',
    from_email_name: 'verifications',
    email_address_id: `idn_${id}`,
    to_email_address: to,
    user_id: null,
    subject: `${code} is your verification code`,
    body: `<p>${code}</p>`,
    body_plain: code,
    status: 'queued',
    delivered_by_clerk: true,
    data: { otp_code: code, requested_from: 'Chrome, MacOS', app: { name: 'Example' } },
  };
}

export function clerkEvent(
  type: string,
  data: Record<string, unknown>,
  { timestamp = Date.now(), instanceId = CLERK_INSTANCE_ID }: { timestamp?: number; instanceId?: string } = {},
): ClerkEvent {
  const http_request = { client_ip: '203.0.113.7', user_agent: 'Mozilla/5.0' };
  return { object: 'event', type, timestamp, instance_id: instanceId, event_attributes: { http_request }, data };
}

export interface Signing {
  /** The message id, the same in every attempt. */
  id?: string;
  /** The time of the attempt, in seconds. */
  timestamp?: number;
  headers?: 'svix' | 'webhook';
  secret?: string;
  /** The sender; all providers sign the same way. */
  provider?: 'clerk' | 'polar' | 'dodo';
}

export function newMessageId(): string {
  return `msg_${randomBytes(12).toString('hex')}`;
}

/** The signature headers of a body. */
export function sign(body: string | Buffer, signing: Signing = {}): Record<string, string> {
  return signedHeaders(body, attemptOf(signing));
}

/** Posts one signed attempt to a running server. */
export async function deliver(
  url: string,
  event: ClerkEvent | string | Buffer,
  signing: Signing = {},
): Promise<{ status: number; body: Record<string, unknown> }> {
  const body = typeof event === 'string' || Buffer.isBuffer(event) ? event : JSON.stringify(event);
  return postSigned(`${url}/webhooks/${signing.provider ?? 'clerk'}`, body, attemptOf(signing));
}

function attemptOf({ id = newMessageId(), provider = 'clerk', timestamp, secret = CLERK_WEBHOOK_SECRET, ...given }: Signing): Attempt {
  const headers = given.headers ?? (provider === 'clerk' ? 'svix' : 'webhook');
  return { id, timestamp, key: standardKey(secret), headers };
}

import type { ExampleNames } from '../examples.js';
import { DAY_MS } from '../../platform/time/durations.js';

/** Example events of Clerk for `webhooks send`. */
export const CLERK_EXAMPLES: Record<string, (names: ExampleNames, now: number) => object> = {
  'user.created': userOf,
  'user.updated': (names, now) => ({ ...userOf(names, now), last_name: 'King' }),
  'user.deleted': ({ user }) => ({ object: 'user', id: user, deleted: true }),
  'organization.created': organizationOf,
  'organization.updated': (names, now) => ({ ...organizationOf(names, now), name: 'Analytical Engines Ltd.' }),
  'organization.deleted': ({ organization }) => ({ object: 'organization', id: organization, deleted: true }),
  'organizationMembership.created': membershipOf,
  'organizationMembership.updated': (names, now) => ({ ...membershipOf(names, now), role: 'org:member', role_name: 'Member' }),
  'organizationMembership.deleted': membershipOf,
  'organizationInvitation.created': (names, now) => invitationOf(names, now, 'pending'),
  'organizationInvitation.revoked': (names, now) => invitationOf(names, now, 'revoked'),
  'session.created': (names, now) => sessionOf(names, now, 'active'),
  'session.revoked': (names, now) => sessionOf(names, now, 'revoked'),
};

function userOf({ user, email }: ExampleNames, now: number): object {
  return {
    object: 'user',
    id: user,
    external_id: null,
    primary_email_address_id: `idn_${user}`,
    email_addresses: [
      {
        object: 'email_address',
        id: `idn_${user}`,
        email_address: email,
        verification: { object: 'verification_otp', status: 'verified', strategy: 'email_code' },
        linked_to: [],
      },
    ],
    phone_numbers: [],
    username: null,
    first_name: 'Ada',
    last_name: 'Lovelace',
    image_url: 'https://img.clerk.com/ada',
    has_image: true,
    public_metadata: {},
    private_metadata: null,
    unsafe_metadata: {},
    banned: false,
    locked: false,
    created_at: now,
    updated_at: now,
    last_sign_in_at: null,
  };
}

function organizationOf({ organization, user }: ExampleNames, now: number): object {
  return {
    object: 'organization',
    id: organization,
    name: 'Analytical Engines',
    slug: organization.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-'),
    image_url: 'https://img.clerk.com/engines',
    has_image: true,
    members_count: 1,
    max_allowed_memberships: 5,
    admin_delete_enabled: true,
    public_metadata: {},
    created_by: user,
    created_at: now,
    updated_at: now,
  };
}

function membershipOf(names: ExampleNames, now: number): object {
  return {
    object: 'organization_membership',
    id: `orgmem_${names.user}_${names.organization}`,
    role: 'org:admin',
    role_name: 'Admin',
    permissions: ['org:sys_memberships:manage'],
    organization: organizationOf(names, now),
    public_user_data: {
      user_id: names.user,
      identifier: names.email,
      first_name: 'Ada',
      last_name: 'Lovelace',
      image_url: 'https://img.clerk.com/ada',
      has_image: true,
    },
    public_metadata: {},
    created_at: now,
    updated_at: now,
  };
}

function invitationOf({ organization, email }: ExampleNames, now: number, status: string): object {
  return {
    object: 'organization_invitation',
    id: `orginv_${organization}`,
    email_address: email,
    organization_id: organization,
    role: 'org:member',
    role_name: 'Member',
    status,
    public_metadata: {},
    url: null,
    expires_at: now + 30 * DAY_MS,
    created_at: now,
    updated_at: now,
  };
}

function sessionOf({ user }: ExampleNames, now: number, status: string): object {
  return {
    object: 'session',
    id: `sess_${user}`,
    user_id: user,
    client_id: `client_${user}`,
    actor: null,
    status,
    last_active_at: now,
    expire_at: now + 7 * DAY_MS,
    abandon_at: now + 30 * DAY_MS,
    created_at: now,
    updated_at: now,
  };
}

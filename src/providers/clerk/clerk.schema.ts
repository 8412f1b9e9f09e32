import { z } from 'zod';
import { cleanDisplayName } from '../../platform/text/display-names.js';
import { normaliseEmail } from '../../platform/text/emails.js';
import { LAST_MOMENT } from '../../platform/time/moments.js';
import { INVITATION_STATUSES } from '../../invitations/invitations.table.js';
import type { Role } from '../../memberships/organization-memberships.table.js';
import { id, MAX_TEXT_LENGTH, orNull, shortText, type } from '../fields.schema.js';
import { isStorable } from '../../platform/text/storable-text.js';

const MAX_ADDRESS_LENGTH = 320;
const MAX_URL_LENGTH = 2000;

/** Smaller numbers are seconds, as in Clerk's examples: as milliseconds they would be before March 1973. */
const FIRST_MILLISECONDS = 1e11;

/** Kept even if no local account could have it (docs/decisions/0028), and never truncated. */
const email = z.string().transform(normaliseEmail).pipe(z.string().min(3).max(MAX_ADDRESS_LENGTH).refine(isStorable));

/** Cleaned instead of refused (docs/decisions/0029). */
const displayName = orNull(z.string().transform((value) => cleanDisplayName(value, MAX_TEXT_LENGTH) || null));

const moment = z
  .number()
  .transform((value) => Math.trunc(value < FIRST_MILLISECONDS ? value * 1000 : value))
  .refine((value) => value > 0 && value <= LAST_MOMENT)
  .transform((value) => new Date(value))
  .nullable()
  .catch(null);

export const clerkEnvelope = z.object({
  type,
  timestamp: moment,
  instance_id: orNull(z.string()),
  event_attributes: orNull(z.object({ http_request: orNull(z.object({ client_ip: shortText(), user_agent: shortText() })) })),
  data: z.unknown().optional(),
});

export const userObject = z.object({
  id,
  primary_email_address_id: orNull(z.string()),
  email_addresses: z.array(z.unknown()).catch([]),
  username: displayName,
  first_name: displayName,
  last_name: displayName,
  image_url: shortText(MAX_URL_LENGTH),
  banned: z.boolean().catch(false),
  created_at: moment,
  updated_at: moment,
});

const emailObject = z.object({
  id: z.string(),
  email_address: email,
  verification: orNull(z.object({ status: orNull(z.string()) })),
});

export const organizationObject = z.object({
  id,
  name: displayName,
  slug: shortText(),
  image_url: shortText(MAX_URL_LENGTH),
  created_at: moment,
  updated_at: moment,
});

export const membershipObject = z.object({
  id,
  role: shortText(),
  organization: organizationObject,
  public_user_data: z.object({ user_id: id, first_name: displayName, last_name: displayName, image_url: shortText(MAX_URL_LENGTH) }),
  created_at: moment,
  updated_at: moment,
});

export const invitationObject = z.object({
  id,
  email_address: email,
  organization_id: id,
  role: shortText(),
  status: orNull(z.enum(INVITATION_STATUSES)),
  inviter_id: orNull(id),
  user_id: orNull(id),
  expires_at: moment,
  created_at: moment,
  updated_at: moment,
});

export const sessionObject = z.object({
  id,
  user_id: id,
  status: orNull(z.string()),
  latest_activity: orNull(z.object({ ip_address: shortText() })),
  expire_at: moment,
  created_at: moment,
});

export const deletedObject = z.object({ id });

/** The user object names the id of its primary address; the order of the list means nothing. */
export function primaryEmailOf(user: z.infer<typeof userObject>): { email: string | null; emailVerified: boolean } {
  const primary = user.email_addresses
    .map((one) => emailObject.safeParse(one).data)
    .find((one) => one?.id === user.primary_email_address_id);
  return { email: primary?.email_address ?? null, emailVerified: primary?.verification?.status === 'verified' };
}

export function fullNameOf({ first_name: first, last_name: last }: { first_name: string | null; last_name: string | null }): string {
  return cleanDisplayName([first, last].filter((part) => part !== null).join(' '), MAX_TEXT_LENGTH);
}

/** Clerk allows custom roles. An unknown role gets the fewest rights. */
export function roleOf(key: string | null): Role {
  return key === 'org:admin' || key === 'admin' ? 'admin' : 'member';
}

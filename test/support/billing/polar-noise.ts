import type { models } from '@polar-sh/sdk/2026-10';
import { POLAR_ORGANIZATION_ID } from './polar-events.js';

/** The object that the event reports. */
export interface NoiseAround {
  id: string;
  at: string;
  subscription: models.Subscription;
}

const times = (at: string) => ({ created_at: at, modified_at: null });

const benefit = ({ id, at }: NoiseAround) => ({
  id,
  ...times(at),
  type: 'custom',
  description: 'A benefit',
  selectable: true,
  deletable: true,
  is_deleted: false,
  organization_id: POLAR_ORGANIZATION_ID,
  metadata: {},
  visibility: 'public',
  visibility_configurable: true,
  properties: { note: null },
});

const grant = (around: NoiseAround) => ({
  id: around.id,
  ...times(around.at),
  granted_at: around.at,
  is_granted: true,
  revoked_at: null,
  is_revoked: false,
  subscription_id: around.subscription.id,
  order_id: null,
  customer_id: around.subscription.customer_id,
  member_id: null,
  benefit_id: around.id,
  error: null,
  customer: around.subscription.customer,
  member: null,
  benefit: benefit(around),
  properties: {},
  previous_properties: null,
});

const member = ({ id, at, subscription }: NoiseAround) => ({
  id,
  ...times(at),
  customer_id: subscription.customer_id,
  email: 'member@example.com',
  name: 'A Member',
  external_id: null,
  role: 'member',
});

const seat = (around: NoiseAround, status: 'pending' | 'claimed' | 'revoked') => {
  const isRevoked = status === 'revoked';
  return {
    id: around.id,
    ...times(around.at),
    subscription_id: around.subscription.id,
    order_id: null,
    status,
    customer_id: isRevoked ? null : around.subscription.customer_id,
    member_id: isRevoked ? null : around.id,
    member: isRevoked ? null : member(around),
    email: isRevoked ? null : 'member@example.com',
    customer_email: isRevoked ? null : 'member@example.com',
    invitation_token_expires_at: null,
    claimed_at: status === 'pending' ? null : around.at,
    revoked_at: isRevoked ? around.at : null,
    seat_metadata: {},
  };
};

const discount = ({ id, at }: NoiseAround) => ({
  id,
  ...times(at),
  duration: 'once',
  type: 'percentage',
  basis_points: 1000,
  metadata: {},
  name: 'A discount',
  code: null,
  starts_at: null,
  ends_at: null,
  max_redemptions: null,
  max_redemptions_per_customer: null,
  redemptions_count: 0,
  organization_id: POLAR_ORGANIZATION_ID,
  products: [],
});

/** Events that change no subscription, and one of an unknown type. */
export const POLAR_NOISE: Record<string, (around: NoiseAround) => { id: string }> = {
  'product.updated': ({ subscription }) => subscription.product,
  'benefit.created': benefit,
  'benefit.updated': benefit,
  'benefit_grant.created': grant,
  'benefit_grant.updated': grant,
  'benefit_grant.cycled': grant,
  'benefit_grant.revoked': (around) => ({ ...grant(around), is_granted: false, is_revoked: true, revoked_at: around.at }),
  'member.created': member,
  'member.updated': member,
  'member.deleted': member,
  'customer_seat.assigned': (around) => seat(around, 'pending'),
  'customer_seat.claimed': (around) => seat(around, 'claimed'),
  'customer_seat.revoked': (around) => seat(around, 'revoked'),
  'discount.created': discount,
  'discount.updated': discount,
  'discount.deleted': discount,
  'organization.updated': ({ at }) => ({ ...times(at), id: POLAR_ORGANIZATION_ID, name: 'A merchant', slug: 'a-merchant' }),
  'telescope.aligned': ({ id }) => ({ id }),
};

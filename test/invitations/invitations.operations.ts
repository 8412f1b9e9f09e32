import { admins, owner, users, type Expectation, unique } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  createInvitation: {
    access: admins(201),
    body: () => ({ email: `${unique('invited')}@example.com`, role: 'member' }),
    foreign: { email: ({ email, lapsedEmail }) => [email, lapsedEmail!] },
    audit: {
      action: 'invitation.created',
      target: (_, { id }) => id!,
      changes: { email: { after: expect.any(String) }, role: { after: 'member' } },
    },
  },
  listInvitations: { access: admins(200, { keys: true, operators: true }) },
  revokeInvitation: {
    access: admins(204),
    audit: {
      action: 'invitation.revoked',
      target: ({ invitationId }) => invitationId,
      changes: { status: { before: 'pending', after: 'revoked' } },
    },
  },
  resendInvitation: {
    access: admins(200),
    body: () => ({}),
    audit: {
      action: 'invitation.resent',
      target: ({ invitationId }) => invitationId,
      changes: { expiresAt: { before: expect.any(String), after: expect.any(String) } },
    },
  },
  listOwnInvitations: { access: users(200) },
  acceptInvitationByToken: {
    access: owner('outsider', 200),
    body: ({ token }) => ({ token }),
    foreign: { token: ({ token }) => [token] },
    reveals: { 'body.token': 'whoever holds the token of the mail hears that the address must be proved first' },
    audit: {
      action: 'invitation.accepted',
      target: ({ invitationId }) => invitationId,
      changes: { userId: { after: expect.any(String) }, role: { after: 'member' } },
      caller: 'outsider',
    },
  },
  acceptInvitation: {
    access: owner('outsider', 200),
    audit: {
      action: 'invitation.accepted',
      target: ({ invitationId }) => invitationId,
      changes: { userId: { after: expect.any(String) }, role: { after: 'member' } },
      caller: 'outsider',
    },
  },
  declineInvitation: {
    access: owner('outsider', 200),
    audit: {
      action: 'invitation.declined',
      target: ({ invitationId }) => invitationId,
      changes: { status: { before: 'pending', after: 'declined' } },
      caller: 'outsider',
    },
  },
};

import { NO_CONDITION, type TenancyMutation, type UnreachablePredicate } from '../support/mutations.js';

export const mutations: TenancyMutation[] = [
  {
    within: 'InvitationsRepository.list',
    search: 'eq(invitations.organizationId, organizationId)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['listInvitations'],
  },
  {
    within: 'InvitationsRepository.listOpenForEmail',
    search: 'eq(invitations.email, email)',
    replace: NO_CONDITION,
    callers: ['outsider'],
    operations: ['listOwnInvitations'],
  },
  {
    within: 'InvitationsRepository.listOpenForEmail',
    search: 'isNull(organizations.deletedAt)',
    replace: NO_CONDITION,
    callers: ['invited to a deleted organization'],
    operations: ['listOwnInvitations'],
  },
  {
    within: 'InvitationsRepository.select',
    search: 'isNull(organizations.deletedAt)',
    replace: NO_CONDITION,
    callers: ['invited to a deleted organization'],
    operations: ['acceptInvitation'],
  },
  {
    within: 'InvitationsRepository.isMember',
    search: 'eq(memberships.organizationId, organizationId)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['createInvitation'],
  },
  {
    within: 'InvitationsRepository.expirePendingOf',
    search: 'eq(invitations.organizationId, organizationId)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['createInvitation'],
  },
  {
    within: 'InvitationsService.listOwn',
    search: '!emailVerified',
    replace: 'false',
    callers: ['squatter on an invited address'],
    operations: ['listOwnInvitations'],
  },
  {
    within: 'InvitationsService.respond',
    search: 'found.email !== email',
    replace: 'false',
    callers: ['outsider'],
    operations: ['acceptInvitation'],
  },
  {
    within: 'InvitationsService.respond',
    search: 'if (!emailVerified)',
    replace: 'if (false)',
    callers: ['squatter on an invited address'],
    operations: ['acceptInvitation'],
  },
  {
    within: 'InvitationsService.lockPending',
    search: 'invitation.organizationId !== organizationId',
    replace: 'false',
    callers: ['admin of another organization'],
    operations: ['revokeInvitation'],
  },
  {
    within: 'InvitationsService.list',
    search: "['invitations', organizationId, filters]",
    replace: "['invitations', filters]",
    callers: ['admin of another organization'],
    operations: ['listInvitations'],
  },
];

export const unreachable: UnreachablePredicate[] = [
  {
    within: 'InvitationsRepository.revokeSentBy',
    search: 'eq(invitations.organizationId, sql`sender.organization_id`)',
    because: 'the sender is named besides (test/invitations/inviters.e2e-spec.ts)',
  },
  {
    within: 'InvitationsRepository.countOpen',
    search: 'eq(invitations.organizationId, organizationId)',
    because: 'a count, which only a full plan shows (test/invitations/inviters.e2e-spec.ts)',
  },
  {
    within: 'otherInvitationsOf',
    search: 'eq(invitations.organizationId, organizationId), eq(invitations.email, email)',
    because: 'only a provider’s event leads there',
  },
];

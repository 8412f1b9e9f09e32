import { admins, members, operators, users, type Expectation, type ForeignValues, unique } from '../support/expectations.js';

/** The slug of a deleted organization is available again. */
const takenSlug: ForeignValues = ({ slug }, { isDeleted }) => (isDeleted ? [] : [slug]);

export const operations: Record<string, Expectation> = {
  createOrganization: {
    access: users(201),
    body: () => ({ name: unique('Made') }),
    foreign: { slug: takenSlug },
    reveals: { 'body.slug': 'a slug is unique in the whole installation' },
    audit: {
      action: 'organization.created',
      target: (_, { id }) => id!,
      changes: { name: { after: expect.any(String) }, slug: { after: expect.any(String) }, imageUrl: { after: null } },
      organization: ({ id }) => id!,
    },
  },
  listOrganizations: { access: users(200) },
  getOrganizationBySlug: { access: members(200, { operators: true }) },
  getOrganization: { access: members(200, { keys: true, operators: true }) },
  updateOrganization: {
    access: admins(200),
    body: () => ({ name: 'Renamed Inc.' }),
    foreign: { slug: takenSlug },
    reveals: { 'body.slug': 'a slug is unique in the whole installation' },
    audit: {
      action: 'organization.updated',
      target: ({ organizationId }) => organizationId,
      changes: { name: { before: expect.any(String), after: 'Renamed Inc.' } },
    },
  },
  deleteOrganization: {
    access: admins(204),
    query: () => ({ cancelSubscription: 'true' }),
    audit: {
      action: 'organization.deleted',
      target: ({ organizationId }) => organizationId,
      changes: { name: { before: expect.any(String) }, slug: { before: expect.any(String) }, imageUrl: { before: null } },
    },
  },
  restoreOrganization: {
    access: operators(200),
    audit: {
      action: 'organization.restored',
      target: ({ organizationId }) => organizationId,
      changes: null,
      prepare: ({ t, tenant }) => t.http.delete(`/v1/organizations/${tenant.organization.id}`).set(tenant.admin.auth).expect(204),
    },
  },
};

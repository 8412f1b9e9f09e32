import { admins, type Expectation, members, unique } from '../../../test/support/expectations.js';

export const operations: Record<string, Expectation> = {
  createProject: {
    access: members(201, { keys: true }),
    body: () => ({ name: unique('project') }),
    audit: { action: 'project.created', target: (_, { id }) => id, changes: { name: { after: expect.any(String) } } },
  },
  listProjects: { access: members(200, { keys: true, operators: true }) },
  archiveProject: {
    access: admins(204),
    audit: {
      action: 'project.archived',
      target: ({ projectId }) => projectId,
      changes: { archivedAt: { before: null, after: expect.any(String) } },
    },
  },
};

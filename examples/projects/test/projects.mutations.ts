import { NO_CONDITION, type TenancyMutation } from '../../../test/support/mutations.js';

const otherAdmin = ['admin of another organization'];

export const mutations: TenancyMutation[] = [
  {
    within: 'ProjectsRepository.list',
    search: 'eq(projects.organizationId, organizationId)',
    replace: NO_CONDITION,
    callers: otherAdmin,
    operations: ['listProjects'],
  },
  {
    within: 'ProjectsRepository.archive',
    search: 'eq(projects.organizationId, organizationId)',
    replace: NO_CONDITION,
    callers: otherAdmin,
    operations: ['archiveProject'],
  },
  {
    within: 'ProjectsService.list',
    search: "['projects', organizationId]",
    replace: "['projects']",
    callers: otherAdmin,
    operations: ['listProjects'],
  },
];

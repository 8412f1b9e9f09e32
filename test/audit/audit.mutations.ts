import { NO_CONDITION, type TenancyMutation } from '../support/mutations.js';

export const mutations: TenancyMutation[] = [
  {
    within: 'AuditRepository.list',
    search: 'eq(auditLog.organizationId, organizationId)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['listAuditLog'],
  },
  {
    within: 'AuditService.list',
    search: "['audit-log', organizationId, filters]",
    replace: "['audit-log', filters]",
    callers: ['admin of another organization'],
    operations: ['listAuditLog'],
  },
];

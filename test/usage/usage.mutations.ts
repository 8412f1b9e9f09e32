import { NO_CONDITION, type TenancyMutation, type UnreachablePredicate } from '../support/mutations.js';

export const mutations: TenancyMutation[] = [
  {
    within: 'UsageReportsRepository.selectPage',
    search: 'eq(usage.ownerId, ownerId)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['listUsage'],
  },
  {
    within: 'selectByModel',
    search: 'isOneOf(usageModelRollups.ownerId, ownerIds)',
    replace: 'sql`true`',
    callers: ['admin of another organization'],
    operations: ['summarizeUsage'],
  },
  {
    within: 'UsageReportsService.list',
    search: "['usage', owner, filters]",
    replace: "['usage', filters]",
    callers: ['admin of another organization'],
    operations: ['listUsage'],
  },
  {
    within: 'LIST_HOLDS',
    search: '(h.owner_id, h.id) IN (SELECT * FROM',
    replace: 'h.id IN (SELECT id FROM',
    callers: ['outsider'],
    operations: ['settleOwnHold', 'releaseOwnHold'],
  },
  {
    within: 'UsageAlertsRepository.list',
    search: 'eq(usageAlerts.ownerId, ownerId)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['listUsageAlerts'],
  },
  {
    within: 'UsageService.listAlerts',
    search: "['usage-alerts', owner]",
    replace: "['usage-alerts']",
    callers: ['admin of another organization'],
    operations: ['listUsageAlerts'],
  },
];

export const unreachable: UnreachablePredicate[] = [
  { within: 'ComparedUsageRepository.listHours', search: 'eq(usageRollups.ownerId, ownerId)', because: 'only a command leads there' },
  { within: 'ComparedUsageRepository.listQuotas', search: 'eq(usageQuotas.ownerId, ownerId)', because: 'only a command leads there' },
  { within: 'ComparedUsageRepository.sumLiveHolds', search: 'eq(usageHolds.ownerId, ownerId)', because: 'only a command leads there' },
  {
    within: 'UsageQuotasRepository.list',
    search: 'eq(usageQuotas.ownerId, ownerId)',
    because: 'another owner’s period would have to begin in the same millisecond',
  },
  {
    within: 'selectCutEvents',
    search: 'isOneOf(usage.ownerId, ownerIds)',
    because: 'only of hours that are cut; test/usage/reports/usage-reports.e2e-spec.ts cuts them',
  },
  ...['usageRollups', 'usageMonthRollups'].map((table) => ({
    within: 'selectByUser',
    search: `isOneOf(${table}.ownerId, ownerIds)`,
    because: 'only of sums by user; test/usage/reports/usage-reports.e2e-spec.ts compares them with one owner’s events',
  })),
  {
    within: 'SummedUsageRepository.hasMoreUsers',
    search: 'isOneOf(usageMonthRollups.ownerId, ownerIds)',
    because: 'only of owners with thousands of users',
  },
];

import { admins, members, operators, owner, users, type Expectation, unique } from '../support/expectations.js';

const usageEvent = () => ({ eventId: unique('event'), model: 'a-model', tokens: 1 });

export const operations: Record<string, Expectation> = {
  listUsage: { access: members(200, { keys: true, operators: true }) },
  summarizeUsage: {
    access: members(200, { keys: true, operators: true }),
    query: () => ({ groupBy: 'model' }),
  },
  exportUsage: { access: admins(200, { keys: true, operators: true }) },
  listOwnUsage: { access: users(200) },
  summarizeOwnUsage: {
    access: users(200),
    query: () => ({ groupBy: 'model' }),
  },
  exportOwnUsage: { access: users(200) },
  recordOwnUsage: {
    access: users(201),
    body: usageEvent,
    audit: { none: 'usage has its own ledger' },
  },
  recordOwnUsageBatch: {
    access: users(200),
    body: () => ({ events: [usageEvent()] }),
    audit: { none: 'usage has its own ledger' },
  },
  getOwnQuota: { access: users(200) },
  holdOwnTokens: {
    access: users(201),
    body: () => ({ estimatedTokens: 1 }),
    audit: { none: 'usage has its own ledger' },
  },
  settleOwnHold: {
    access: owner('member', 201),
    body: usageEvent,
    audit: { none: 'usage has its own ledger' },
  },
  releaseOwnHold: {
    access: owner('member', 204),
    audit: { none: 'usage has its own ledger' },
  },
  listOwnUsageAlerts: { access: users(200) },
  recordUsage: {
    access: members(201, { keys: true }),
    body: usageEvent,
    audit: { none: 'usage has its own ledger' },
  },
  recordUsageBatch: {
    access: members(200, { keys: true }),
    body: () => ({ events: [usageEvent()] }),
    audit: { none: 'usage has its own ledger' },
  },
  getQuota: { access: members(200, { keys: true, operators: true }) },
  holdTokens: {
    access: members(201, { keys: true }),
    body: () => ({ estimatedTokens: 1 }),
    audit: { none: 'usage has its own ledger' },
  },
  settleHold: {
    access: members(201, { keys: true }),
    body: usageEvent,
    audit: { none: 'usage has its own ledger' },
  },
  releaseHold: {
    access: members(204, { keys: true }),
    audit: { none: 'usage has its own ledger' },
  },
  listUsageAlerts: { access: members(200, { keys: true, operators: true }) },
  listMeterExports: { access: operators(200) },
  retryMeterExports: {
    access: operators(202),
    body: () => ({ provider: 'polar' }),
    audit: { action: 'meter_export.retried', target: () => 'polar', changes: null, organization: null },
  },
};

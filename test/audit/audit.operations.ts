import { admins, type Expectation } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  listAuditLog: { access: admins(200, { keys: true, operators: true }) },
};

import { everyone, type Expectation } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  listPlans: { access: everyone(200) },
};

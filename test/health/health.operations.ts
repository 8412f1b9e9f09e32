import { everyone, type Expectation } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  getLiveness: { access: everyone(200) },
  getReadiness: { access: everyone(200) },
  getMetrics: { access: everyone(200) },
};

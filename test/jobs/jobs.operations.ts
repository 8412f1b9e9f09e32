import { operators, type Expectation } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  listJobs: { access: operators(200) },
  runJob: {
    access: operators(202),
    path: { job: 'prune_job_runs' },
    audit: { action: 'job.started', target: () => 'prune_job_runs', changes: null, organization: null },
  },
};

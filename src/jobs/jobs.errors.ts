import { problem } from '../platform/problems/problem.js';

export class JobNotFound extends problem(404, 'job_not_found', 'There is no job of this name.') {}
export class JobAlreadyRunning extends problem(409, 'job_already_running', 'A run of this job has not finished yet.') {}

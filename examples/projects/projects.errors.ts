import { problem } from '../../src/platform/problems/problem.js';

export class ProjectNotFound extends problem(404, 'project_not_found', 'This organization has no such project.') {}
export class ProjectNameTaken extends problem(409, 'project_name_taken', 'This organization uses the name already. Choose another one.') {}

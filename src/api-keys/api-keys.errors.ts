import { problem } from '../platform/problems/problem.js';

export class ApiKeyNotFound extends problem(404, 'api_key_not_found', 'There is no such live API key in this organization.') {}

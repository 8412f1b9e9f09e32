import { problem } from '../platform/problems/problem.js';

export class SessionNotFound extends problem(404, 'session_not_found', 'There is no such live session.') {}

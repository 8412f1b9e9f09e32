import { problem } from '../platform/problems/problem.js';

export class UserNotFound extends problem(404, 'user_not_found', 'There is no such user.') {}
export class EmailTaken extends problem(409, 'email_taken', 'Another account uses this email. Sign in there, or reset its password.') {}
export class CannotSuspendSelf extends problem(409, 'cannot_suspend_self', 'You cannot suspend yourself.') {}

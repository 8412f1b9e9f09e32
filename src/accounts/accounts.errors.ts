import { problem } from '../platform/problems/problem.js';

export class AccountNotFound extends problem(404, 'account_not_found', 'You have no such linked account.') {}
export class LastAccount extends problem(409, 'last_account', 'This is your last way to sign in. Add another one first.') {}

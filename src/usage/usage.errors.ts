import { problem } from '../platform/problems/problem.js';

export class QuotaExceeded extends problem(
  402,
  'quota_exceeded',
  'The tokens of this period are used up or reserved. `Retry-After` says when the next period starts.',
) {}
export class UsageConflict extends problem(
  409,
  'usage_conflict',
  'Another event was recorded under this `eventId`. Send the recorded event, or use a new id.',
) {}
export class HoldConflict extends problem(409, 'hold_conflict', 'There is another hold with this `holdId`. Use a new id.') {}
export class HoldSettled extends problem(409, 'hold_settled', 'Another event has settled this hold.') {}
export class HoldNotFound extends problem(404, 'hold_not_found', 'There is no such hold.') {}

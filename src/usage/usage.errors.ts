import { problem } from '../platform/problems/problem.js';

export class QuotaExceeded extends problem(
  402,
  'quota_exceeded',
  'The tokens of this period are used up, or on hold. `Retry-After` tells when the next period begins.',
) {}
export class UsageConflict extends problem(
  409,
  'usage_conflict',
  'Another event was recorded under this `eventId`. Send what was recorded, or use a new id.',
) {}
export class HoldConflict extends problem(409, 'hold_conflict', 'There is a hold with this `holdId` and other content. Use a new id.') {}
export class HoldSettled extends problem(409, 'hold_settled', 'The hold was settled by another event already.') {}
export class HoldNotFound extends problem(404, 'hold_not_found', 'There is no such hold.') {}

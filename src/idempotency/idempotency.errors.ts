import { problem } from '../platform/problems/problem.js';

export class IdempotencyKeyReused extends problem(
  422,
  'idempotency_key_reused',
  'This Idempotency-Key was used with another request. Use a new key.',
) {}
export class IdempotencyKeyInFlight extends problem(
  409,
  'idempotency_key_in_flight',
  'A request with this Idempotency-Key is still running. Try again shortly.',
) {}

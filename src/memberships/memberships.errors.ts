import { problem } from '../platform/problems/problem.js';

export class MembershipNotFound extends problem(404, 'membership_not_found', 'There is no such membership in this organization.') {}
export class SeatLimitReached extends problem(
  402,
  'seat_limit_reached',
  'Every seat of the plan is taken. Choose a larger plan, remove a member or revoke an invitation.',
) {}
export class LastAdmin extends problem(
  409,
  'last_admin',
  'An organization keeps at least one admin. Make somebody else admin first, or delete the organization.',
) {}

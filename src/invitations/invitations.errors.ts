import { problem } from '../platform/problems/problem.js';

export class InvitationNotFound extends problem(404, 'invitation_not_found', 'There is no such invitation for you.') {}
export class InvitationPending extends problem(
  409,
  'invitation_pending',
  'This email has a pending invitation. Resend or revoke that one.',
) {}
export class InvitationNotPending extends problem(409, 'invitation_not_pending', 'This invitation was answered, revoked or has expired.') {}
export class AlreadyMember extends problem(409, 'already_member', 'This email belongs to a member.') {}
export class InvitationGone extends problem(410, 'invitation_gone', 'This invitation has expired or was withdrawn. Ask for a new one.') {}
export class EmailNotVerified extends problem(403, 'email_not_verified', 'Confirm your email address first.') {}

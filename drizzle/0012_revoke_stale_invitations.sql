-- Open invitations whose sender is no admin any more, or is shut out. Accepting one is refused whatever its status.
UPDATE "invitations" SET "status" = 'revoked', "updated_at" = now()
 WHERE "status" = 'pending' AND "clerk_invitation_id" IS NULL AND NOT EXISTS (
   SELECT 1 FROM "organization_memberships" m JOIN "users" u ON u.id = m.user_id
    WHERE m.organization_id = "invitations"."organization_id" AND m.role = 'admin' AND m.deleted_at IS NULL
      AND u.id = coalesce((SELECT into_user_id FROM "user_merges" WHERE id = "invitations"."invited_by"), "invitations"."invited_by")
      AND u.deleted_at IS NULL AND u.suspended_at IS NULL AND NOT u.banned);

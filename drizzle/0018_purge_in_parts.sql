-- no-transaction
-- Runs again from the start if it was broken off. NULL: no row of the organization has been purged.
ALTER TABLE "organizations" ADD COLUMN IF NOT EXISTS "purge_started_at" timestamp (3) with time zone;--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "invitations_answered_by_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "invitations_answered_by_idx" ON "invitations" USING btree ("answered_by") WHERE "invitations"."answered_by" IS NOT NULL;--> statement-breakpoint
-- As erase_from_audit_log(uuid[]), which processes of the previous version still call, but for some entries at a time.
CREATE OR REPLACE FUNCTION public.erase_from_audit_log(user_ids uuid[], most integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  remaining integer := most;
  part integer;
BEGIN
  IF EXISTS (SELECT FROM public.users WHERE id = ANY (user_ids) AND deleted_at IS NULL) THEN
    RAISE EXCEPTION 'Only deleted users are erased from audit_log' USING ERRCODE = 'insufficient_privilege';
  END IF;
  PERFORM set_config('tenantry.audit_maintenance', 'on', true);
  UPDATE public.audit_log SET changes = NULL WHERE id IN (
    SELECT id FROM public.audit_log WHERE target_id = ANY (user_ids::text[]) AND changes IS NOT NULL LIMIT remaining);
  GET DIAGNOSTICS part = ROW_COUNT;
  remaining := remaining - part;
  UPDATE public.audit_log SET changes = NULL WHERE id IN (
    SELECT id FROM public.audit_log WHERE actor_id = ANY (user_ids) AND target_type = 'account' AND changes IS NOT NULL LIMIT remaining);
  GET DIAGNOSTICS part = ROW_COUNT;
  remaining := remaining - part;
  UPDATE public.audit_log SET changes = NULL WHERE id IN (
    SELECT entry.id FROM public.invitations AS invitation JOIN public.audit_log AS entry ON entry.target_id = invitation.id::text
     WHERE invitation.answered_by = ANY (user_ids) AND entry.changes IS NOT NULL LIMIT remaining);
  GET DIAGNOSTICS part = ROW_COUNT;
  remaining := remaining - part;
  UPDATE public.audit_log SET ip_address = NULL WHERE id IN (
    SELECT id FROM public.audit_log WHERE actor_id = ANY (user_ids) AND ip_address IS NOT NULL LIMIT remaining);
  GET DIAGNOSTICS part = ROW_COUNT;
  PERFORM set_config('tenantry.audit_maintenance', 'off', true);
  RETURN most - remaining + part;
END
$$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION public.erase_from_audit_log(uuid[], integer) FROM PUBLIC;

CREATE TABLE "audit_seal_keys" (
	"only" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"key" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "audit_seal_keys_only" CHECK ("audit_seal_keys"."only")
);
--> statement-breakpoint
CREATE TABLE "audit_seals" (
	"number" bigint PRIMARY KEY NOT NULL,
	"from" timestamp (3) with time zone NOT NULL,
	"until" timestamp (3) with time zone NOT NULL,
	"entries" integer NOT NULL,
	"link" "bytea" NOT NULL,
	"sum" "bytea" NOT NULL,
	"sum_mac" "bytea" NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "audit_seals_forward" CHECK ("audit_seals"."until" > "audit_seals"."from")
);
--> statement-breakpoint
CREATE INDEX "audit_seals_until_idx" ON "audit_seals" USING btree ("until");--> statement-breakpoint
-- As erase_from_audit_log(uuid[], integer), which processes of the previous version still call, but returns the entries as they were,
-- so that their seals can follow. An entry of which two parts are erased is returned twice.
CREATE FUNCTION public.erase_audit_entries(user_ids uuid[], most integer) RETURNS SETOF public.audit_log
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
  RETURN QUERY WITH found AS MATERIALIZED (
      SELECT * FROM public.audit_log WHERE target_id = ANY (user_ids::text[]) AND changes IS NOT NULL LIMIT remaining),
    erased AS (UPDATE public.audit_log entry SET changes = NULL FROM found WHERE entry.id = found.id)
    SELECT * FROM found;
  GET DIAGNOSTICS part = ROW_COUNT;
  remaining := remaining - part;
  RETURN QUERY WITH found AS MATERIALIZED (
      SELECT * FROM public.audit_log WHERE actor_id = ANY (user_ids) AND target_type = 'account' AND changes IS NOT NULL LIMIT remaining),
    erased AS (UPDATE public.audit_log entry SET changes = NULL FROM found WHERE entry.id = found.id)
    SELECT * FROM found;
  GET DIAGNOSTICS part = ROW_COUNT;
  remaining := remaining - part;
  RETURN QUERY WITH found AS MATERIALIZED (
      SELECT * FROM public.audit_log WHERE changes IS NOT NULL AND target_id IN (
        SELECT id::text FROM public.invitations WHERE answered_by = ANY (user_ids)) LIMIT remaining),
    erased AS (UPDATE public.audit_log entry SET changes = NULL FROM found WHERE entry.id = found.id)
    SELECT * FROM found;
  GET DIAGNOSTICS part = ROW_COUNT;
  remaining := remaining - part;
  RETURN QUERY WITH found AS MATERIALIZED (
      SELECT * FROM public.audit_log WHERE actor_id = ANY (user_ids) AND ip_address IS NOT NULL LIMIT remaining),
    erased AS (UPDATE public.audit_log entry SET ip_address = NULL FROM found WHERE entry.id = found.id)
    SELECT * FROM found;
  PERFORM set_config('tenantry.audit_maintenance', 'off', true);
END
$$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION public.erase_audit_entries(uuid[], integer) FROM PUBLIC;

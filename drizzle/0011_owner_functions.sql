-- What the application does to its own tables beyond reading and writing rows. The application's role may have no
-- other way to do it (npm run cli -- db grant-app <role>, docs/decisions/0036), so these functions run as their
-- owner. Their search path has no schema that somebody else can write to; every other name is qualified.
CREATE FUNCTION public.prune_audit_log(before timestamp with time zone, batch integer) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  removed bigint;
BEGIN
  -- Not as a setting of the function: an owner who is no superuser may not declare it there.
  PERFORM set_config('tenantry.audit_maintenance', 'on', true);
  -- Whatever is asked for: the entries of the last 30 days stay.
  DELETE FROM public.audit_log WHERE id IN (
    SELECT id FROM public.audit_log
     WHERE created_at < least(before, now() - interval '30 days')
     ORDER BY created_at LIMIT batch);
  GET DIAGNOSTICS removed = ROW_COUNT;
  PERFORM set_config('tenantry.audit_maintenance', 'off', true);
  RETURN removed;
END
$$;
--> statement-breakpoint
CREATE FUNCTION public.erase_from_audit_log(user_ids uuid[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM public.users WHERE id = ANY (user_ids) AND deleted_at IS NULL) THEN
    RAISE EXCEPTION 'Only deleted users are erased from audit_log' USING ERRCODE = 'insufficient_privilege';
  END IF;
  PERFORM set_config('tenantry.audit_maintenance', 'on', true);
  UPDATE public.audit_log SET changes = NULL WHERE target_id = ANY (user_ids::text[]);
  UPDATE public.audit_log SET changes = NULL WHERE actor_id = ANY (user_ids) AND target_type = 'account';
  UPDATE public.audit_log SET changes = NULL
   WHERE target_id IN (SELECT id::text FROM public.invitations WHERE answered_by = ANY (user_ids));
  UPDATE public.audit_log SET ip_address = NULL WHERE actor_id = ANY (user_ids);
  PERFORM set_config('tenantry.audit_maintenance', 'off', true);
END
$$;
--> statement-breakpoint
-- The partition is made apart and then attached: CREATE TABLE … PARTITION OF would stop every reader and writer.
CREATE FUNCTION public.create_usage_partition(month date) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET datestyle = 'ISO'
  SET timezone = 'UTC' AS $$
DECLARE
  partition text := 'usage_' || to_char(month, 'YYYY_MM');
BEGIN
  IF extract(day FROM month) <> 1 THEN
    RAISE EXCEPTION 'A month begins on its first day' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('CREATE TABLE public.%I (LIKE public.usage INCLUDING ALL)', partition);
  EXECUTE format('ALTER TABLE public.usage ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', partition,
    month::timestamp AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
END
$$;
--> statement-breakpoint
CREATE FUNCTION public.drop_usage_partition(month date) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  partition text := 'usage_' || to_char(month, 'YYYY_MM');
BEGIN
  IF NOT EXISTS (
    SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
     WHERE pg_inherits.inhparent = 'public.usage'::regclass AND pg_class.relname = partition
  ) THEN
    RAISE EXCEPTION 'There is no such partition' USING ERRCODE = 'undefined_table';
  END IF;
  EXECUTE format('DROP TABLE public.%I', partition);
END
$$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION
  public.prune_audit_log(timestamp with time zone, integer), public.erase_from_audit_log(uuid[]),
  public.create_usage_partition(date), public.drop_usage_partition(date) FROM PUBLIC;

-- no-transaction
-- Runs again from the start if it was broken off.
CREATE TABLE IF NOT EXISTS "usage_model_rollups" (
	"owner_id" uuid NOT NULL,
	"hour" timestamp (3) with time zone NOT NULL,
	"model" text NOT NULL,
	"events" bigint DEFAULT 0 NOT NULL,
	"input_tokens" bigint DEFAULT 0 NOT NULL,
	"output_tokens" bigint DEFAULT 0 NOT NULL,
	"cached_input_tokens" bigint DEFAULT 0 NOT NULL,
	"reasoning_tokens" bigint DEFAULT 0 NOT NULL,
	"tokens_used" bigint DEFAULT 0 NOT NULL,
	"overrun" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "usage_model_rollups_pkey" PRIMARY KEY("owner_id","hour","model")
);
--> statement-breakpoint
ALTER TABLE "usage_model_rollups" SET (fillfactor = 80);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "usage_model_rollups_model_hour_idx" ON "usage_model_rollups" USING btree ("owner_id","model","hour");--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "usage_month_rollups" (
	"owner_id" uuid NOT NULL,
	"month" timestamp (3) with time zone NOT NULL,
	"actor_user_id" uuid,
	"model" text NOT NULL,
	"events" bigint DEFAULT 0 NOT NULL,
	"input_tokens" bigint DEFAULT 0 NOT NULL,
	"output_tokens" bigint DEFAULT 0 NOT NULL,
	"cached_input_tokens" bigint DEFAULT 0 NOT NULL,
	"reasoning_tokens" bigint DEFAULT 0 NOT NULL,
	"tokens_used" bigint DEFAULT 0 NOT NULL,
	"overrun" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "usage_month_rollups_key" UNIQUE NULLS NOT DISTINCT("owner_id","month","actor_user_id","model")
);
--> statement-breakpoint
ALTER TABLE "usage_month_rollups" SET (fillfactor = 80);--> statement-breakpoint
ALTER TABLE "usage_rollups" ADD COLUMN IF NOT EXISTS "is_counted" boolean DEFAULT false NOT NULL;--> statement-breakpoint
-- The same body for the three kinds of changes. A row that is not counted yet changes nothing: the loop below counts it.
DO $do$
DECLARE
  body text := $body$
CREATE OR REPLACE FUNCTION %2$I() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM %3$s) THEN
    INSERT INTO usage_model_rollups AS r (owner_id, hour, model, events, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, tokens_used, overrun)
    SELECT owner_id, hour, model,
           sum(sign * events), sum(sign * input_tokens), sum(sign * output_tokens), sum(sign * cached_input_tokens),
           sum(sign * reasoning_tokens), sum(sign * tokens_used), sum(sign * overrun)
      FROM (%1$s) AS changes WHERE is_counted
     GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (owner_id, hour, model) DO UPDATE SET
      events = r.events + excluded.events, input_tokens = r.input_tokens + excluded.input_tokens, output_tokens = r.output_tokens + excluded.output_tokens,
      cached_input_tokens = r.cached_input_tokens + excluded.cached_input_tokens, reasoning_tokens = r.reasoning_tokens + excluded.reasoning_tokens,
      tokens_used = r.tokens_used + excluded.tokens_used, overrun = r.overrun + excluded.overrun;
    INSERT INTO usage_month_rollups AS r (owner_id, month, actor_user_id, model, events, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, tokens_used, overrun)
    SELECT owner_id, date_trunc('month', hour, 'UTC'), actor_user_id, model,
           sum(sign * events), sum(sign * input_tokens), sum(sign * output_tokens), sum(sign * cached_input_tokens),
           sum(sign * reasoning_tokens), sum(sign * tokens_used), sum(sign * overrun)
      FROM (%1$s) AS changes WHERE is_counted
     GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (owner_id, month, actor_user_id, model) DO UPDATE SET
      events = r.events + excluded.events, input_tokens = r.input_tokens + excluded.input_tokens, output_tokens = r.output_tokens + excluded.output_tokens,
      cached_input_tokens = r.cached_input_tokens + excluded.cached_input_tokens, reasoning_tokens = r.reasoning_tokens + excluded.reasoning_tokens,
      tokens_used = r.tokens_used + excluded.tokens_used, overrun = r.overrun + excluded.overrun;
  END IF;
  RETURN NULL;
END
$$
$body$;
  added text := 'SELECT 1 AS sign, * FROM new_rows';
  removed text := 'SELECT -1 AS sign, * FROM old_rows';
BEGIN
  EXECUTE format(body, added, 'sum_inserted_rollups', 'new_rows');
  EXECUTE format(body, added || ' UNION ALL ' || removed, 'sum_updated_rollups', 'new_rows');
  EXECUTE format(body, removed, 'sum_deleted_rollups', 'old_rows');
END
$do$;
--> statement-breakpoint
CREATE OR REPLACE TRIGGER usage_rollups_sum_inserted AFTER INSERT ON usage_rollups
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sum_inserted_rollups();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER usage_rollups_sum_updated AFTER UPDATE ON usage_rollups
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sum_updated_rollups();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER usage_rollups_sum_deleted AFTER DELETE ON usage_rollups
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION sum_deleted_rollups();
--> statement-breakpoint
-- From here on, the triggers count new rows.
ALTER TABLE "usage_rollups" ALTER COLUMN "is_counted" SET DEFAULT true;--> statement-breakpoint
-- About 500 rows a transaction, locked in the order of their key, as the ledger locks them.
DO $$
DECLARE
  done usage_rollups;
  part usage_rollups;
BEGIN
  done.owner_id := '00000000-0000-0000-0000-000000000000';
  done.hour := '-infinity';
  done.model := '';
  LOOP
    PERFORM set_config('synchronous_commit', 'off', true), set_config('enable_seqscan', 'off', true);
    SELECT * INTO part FROM (
      SELECT * FROM usage_rollups WHERE (owner_id, hour, model) > (done.owner_id, done.hour, done.model)
       ORDER BY owner_id, hour, model LIMIT 500) next ORDER BY owner_id DESC, hour DESC, model DESC LIMIT 1;
    EXIT WHEN NOT FOUND;
    BEGIN
      UPDATE usage_rollups r SET is_counted = true FROM (
        SELECT owner_id, hour, model, actor_user_id FROM usage_rollups
         WHERE (owner_id, hour, model) > (done.owner_id, done.hour, done.model)
           AND (owner_id, hour, model) <= (part.owner_id, part.hour, part.model) AND NOT is_counted
         ORDER BY owner_id, hour, model, actor_user_id FOR NO KEY UPDATE) part_rows
       WHERE r.owner_id = part_rows.owner_id AND r.hour = part_rows.hour AND r.model = part_rows.model
         AND r.actor_user_id IS NOT DISTINCT FROM part_rows.actor_user_id;
      done := part;
    EXCEPTION WHEN deadlock_detected THEN
      NULL;
    END;
    COMMIT;
  END LOOP;
END
$$;
--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "usage_rollups_model_hour_idx";

-- no-transaction
-- Runs again from the start if it was broken off. An empty state means: not computed yet.
ALTER TABLE "payments" ADD COLUMN IF NOT EXISTS "state" text DEFAULT '' NOT NULL;--> statement-breakpoint
-- Without sequential scans: the plan of a function may be older than the rows of the table.
CREATE OR REPLACE FUNCTION payment_state(payment payments) RETURNS text LANGUAGE sql STABLE SET enable_seqscan = off AS $$
  SELECT CASE WHEN payment.kind <> 'payment' OR payment.status NOT IN ('succeeded', 'partially_refunded', 'refunded') THEN payment.status::text ELSE (
    SELECT CASE
        WHEN bool_or(about.kind = 'dispute' AND about.status = 'lost') THEN 'dispute_lost'
        WHEN bool_or(about.kind = 'dispute' AND about.status = 'pending') THEN 'disputed'
        WHEN payment.status = 'refunded' THEN 'refunded'
        WHEN payment.amount > 0 AND payment.amount <= sum(about.amount) FILTER (
          WHERE about.kind = 'refund' AND about.status = 'succeeded' AND about.currency IS NOT DISTINCT FROM payment.currency) THEN 'refunded'
        WHEN payment.status = 'partially_refunded' OR bool_or(about.kind = 'refund' AND about.status = 'succeeded') THEN 'partially_refunded'
        ELSE 'succeeded'
      END
      FROM payments about
     WHERE about.provider = payment.provider AND about.of_provider_payment_id = payment.provider_payment_id
  ) END
$$;
--> statement-breakpoint
-- A refund may come before its payment, and both at once: then there is no row to lock yet. One of 256 locks, because a
-- transaction that writes many payments would use up the memory for locks.
CREATE OR REPLACE FUNCTION lock_payment(provider billing_provider, provider_payment_id text) RETURNS void LANGUAGE sql AS $$
  SELECT pg_advisory_xact_lock(hashtext('payments'), hashtext(provider || ':' || provider_payment_id) & 255)
$$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION set_payment_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' AND NEW.kind = 'payment' THEN
    PERFORM lock_payment(NEW.provider, NEW.provider_payment_id);
  END IF;
  NEW.state := payment_state(NEW);
  RETURN NEW;
END
$$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION set_state_of_original() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  original text;
BEGIN
  -- Both, when a provider corrects which payment it is about.
  FOR original IN SELECT DISTINCT id FROM unnest(ARRAY[OLD.of_provider_payment_id, NEW.of_provider_payment_id]) id WHERE id IS NOT NULL ORDER BY id LOOP
    PERFORM lock_payment(NEW.provider, original);
    -- Waits for a change of the payment that is under way.
    PERFORM FROM payments WHERE provider = NEW.provider AND kind = 'payment' AND provider_payment_id = original FOR NO KEY UPDATE;
    UPDATE payments SET state = payment_state(payments)
     WHERE provider = NEW.provider AND kind = 'payment' AND provider_payment_id = original AND state <> payment_state(payments);
  END LOOP;
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE OR REPLACE TRIGGER payments_set_state BEFORE INSERT OR UPDATE OF kind, provider_payment_id, status, amount, currency ON payments
  FOR EACH ROW EXECUTE FUNCTION set_payment_state();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER payments_set_state_of_original AFTER INSERT OR UPDATE OF kind, of_provider_payment_id, status, amount, currency ON payments
  FOR EACH ROW WHEN (NEW.kind <> 'payment') EXECUTE FUNCTION set_state_of_original();
--> statement-breakpoint
-- 500 a transaction. The triggers were created after all open writers, so a change at the same time sets the state afterwards.
DO $$
DECLARE
  done uuid := '00000000-0000-0000-0000-000000000000';
  part uuid;
BEGIN
  LOOP
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT id INTO part FROM (SELECT id FROM payments WHERE id > done ORDER BY id LIMIT 500) next ORDER BY id DESC LIMIT 1;
    EXIT WHEN NOT FOUND;
    UPDATE payments SET state = payment_state(payments) WHERE id > done AND id <= part AND state = '';
    done := part;
    COMMIT;
  END LOOP;
END
$$;
--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "payments_owner_state_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "payments_owner_state_idx" ON "payments" USING btree ("owner_id","state","occurred_at","id");--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "payments_state_subscription_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "payments_state_subscription_idx" ON "payments" USING btree ("state","provider","provider_subscription_id");--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "payments_owner_status_idx";--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "payments_status_subscription_idx";--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "payments_refunded_idx";

-- no-transaction
-- Beside writers, and again from the start if it was broken off: an index that is not finished has the name already.
DROP INDEX CONCURRENTLY IF EXISTS "outbox_dead_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "outbox_dead_idx" ON "outbox" USING btree ("id") WHERE "outbox"."next_attempt_at" IS NULL AND "outbox"."done_at" IS NULL;--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "subscriptions_live_product_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "subscriptions_live_product_idx" ON "subscriptions" USING btree ("product_id") WHERE "subscriptions"."status" IN ('trialing', 'active', 'past_due') AND "subscriptions"."provider" <> 'manual';--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "webhook_events_stuck_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "webhook_events_stuck_idx" ON "webhook_events" USING btree ("provider","type","status") WHERE "webhook_events"."status" IN ('dead', 'quarantined');

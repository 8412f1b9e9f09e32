-- no-transaction
-- Beside writers, and again from the start if it was broken off: an index that is not finished has the name already.
DROP INDEX CONCURRENTLY IF EXISTS "payments_subscription_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "payments_subscription_idx" ON "payments" USING btree ("provider","provider_subscription_id");--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "payments_about_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "payments_about_idx" ON "payments" USING btree ("provider","of_provider_payment_id") WHERE "payments"."of_provider_payment_id" IS NOT NULL;--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "payments_refunded_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "payments_refunded_idx" ON "payments" USING btree ("id") WHERE "payments"."kind" = 'payment' AND "payments"."status" IN ('partially_refunded', 'refunded');

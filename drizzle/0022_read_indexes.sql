-- no-transaction
-- Beside writers, and again from the start if it was broken off: an index that is not finished has the name already.
DROP INDEX CONCURRENTLY IF EXISTS "organization_memberships_role_name_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "organization_memberships_role_name_idx" ON "organization_memberships" USING btree ("organization_id","role","user_name","id") WHERE "organization_memberships"."deleted_at" IS NULL;--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "payments_owner_status_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "payments_owner_status_idx" ON "payments" USING btree ("owner_id","status","occurred_at","id");--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "payments_status_subscription_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "payments_status_subscription_idx" ON "payments" USING btree ("status","provider","provider_subscription_id");--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "usage_rollups_model_hour_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "usage_rollups_model_hour_idx" ON "usage_rollups" USING btree ("owner_id","model","hour");--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "usage_rollups_actor_hour_model_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "usage_rollups_actor_hour_model_idx" ON "usage_rollups" USING btree ("owner_id","actor_user_id","hour","model");

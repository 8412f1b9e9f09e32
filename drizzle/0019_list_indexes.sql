-- no-transaction
-- Beside writers, and again from the start if it was broken off: an index that is not finished has the name already.
DROP INDEX CONCURRENTLY IF EXISTS "webhook_events_provider_type_received_at_id_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "webhook_events_provider_type_received_at_id_idx" ON "webhook_events" USING btree ("provider","type","received_at","id");--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "audit_log_organization_id_action_created_at_id_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "audit_log_organization_id_action_created_at_id_idx" ON "audit_log" USING btree ("organization_id","action","created_at","id") WHERE "audit_log"."organization_id" IS NOT NULL;--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "audit_log_actor_id_organization_id_created_at_id_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "audit_log_actor_id_organization_id_created_at_id_idx" ON "audit_log" USING btree ("actor_id","organization_id","created_at","id");--> statement-breakpoint
-- The last one begins with its column.
DROP INDEX CONCURRENTLY IF EXISTS "audit_log_actor_id_idx";
